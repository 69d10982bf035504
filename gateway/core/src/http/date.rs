//! The `Date` of answers (RFC 9110 section 6.6.1), and the two lines that every answer has after it.

/// `date: ` with an IMF-fixdate (RFC 9110 section 5.6.7), and what browsers must know of every answer. The text is
/// computed once a second.
#[derive(Debug)]
pub(crate) struct DateLines {
    second: u64,
    lines: Vec<u8>,
}

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_S: u64 = 24 * 60 * 60;
/// 9999-12-31T23:59:59Z: later years have no four digits.
const SECOND_MAX: u64 = 253_402_300_799;

impl Default for DateLines {
    fn default() -> Self {
        Self { second: 0, lines: lines(0) }
    }
}

impl DateLines {
    /// Sets the time of the answers to come.
    #[inline]
    pub(crate) fn set(&mut self, wall_ms: u64) {
        let second = wall_ms / 1000;
        if second != self.second {
            (self.second, self.lines) = (second, lines(second));
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.lines
    }
}

#[cold]
fn lines(second: u64) -> Vec<u8> {
    let second = second.min(SECOND_MAX);
    let (days, of_day) = (second / DAY_S, second % DAY_S);
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[(days % 7) as usize];
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let month = MONTHS[(month % 12) as usize];
    format!(
        "date: {weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT\r\n\
         x-content-type-options: nosniff\r\nreferrer-policy: same-origin\r\n"
    )
    .into_bytes()
}

/// Year, month (from 0) and day (from 1), `days` after 1970-01-01, by Howard Hinnant's `civil_from_days`.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Months count from March here, so that a leap day is the last of its year.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let next = if month < 2 { 1 } else { 0 };
    (year + era * 400 + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |second: u64, expect: &str| {
            let mut date = DateLines::default();
            date.set(second.saturating_mul(1000).saturating_add(999));
            let text = String::from_utf8(date.as_bytes().to_vec()).unwrap();
            assert_eq!(text.lines().next().unwrap(), format!("date: {expect}"));
        };
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT");
        check(951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT");
        check(1_704_067_199, "Sun, 31 Dec 2023 23:59:59 GMT");
        check(1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
        check(SECOND_MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
        check(u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
