//! When the requests of the open model are due: a rate that is constant, stepped, a ramp or a spike.

use std::{fmt, time::Duration};

/// Parts of a plan.
const PARTS_MAX: usize = 100;
const RATE_PER_S: std::ops::RangeInclusive<f64> = 0.1..=10_000_000.0;

/// When requests are made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Model {
    /// One after the other on each connection.
    Closed,
    /// At planned times, whatever the server does.
    Open(Arrivals),
}

/// A plan of arrivals: rates one after the other, the last one without an end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arrivals {
    parts: Vec<Part>,
    text: String,
}

/// The rate goes in a straight line from one value to the other.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    from_per_s: f64,
    to_per_s: f64,
    /// Infinite for the last part.
    lasts_s: f64,
    begins_s: f64,
    /// Arrivals before this part.
    before: f64,
}

impl Part {
    fn count(&self) -> f64 {
        (self.from_per_s + self.to_per_s) / 2.0 * self.lasts_s
    }

    /// Seconds after the beginning of the part at which its arrival `number` is due.
    fn due_s(&self, number: f64) -> f64 {
        let growth = (self.to_per_s - self.from_per_s) / self.lasts_s;
        if growth == 0.0 || !self.lasts_s.is_finite() {
            return number / self.from_per_s;
        }
        // The positive root of from*t + growth/2*t^2 = number, in the form that does not cancel.
        let root = (self.from_per_s * self.from_per_s + 2.0 * growth * number).max(0.0).sqrt();
        2.0 * number / (self.from_per_s + root)
    }
}

impl Arrivals {
    /// Reads `2000`, `500:10s,1000:10s,2000` (steps), `100-5000:30s` (a ramp) or `500:5s,20000:500ms,500` (a spike).
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(text: &str, duration: impl Fn(&str) -> Result<Duration, String>) -> Result<Self, String> {
        let pieces: Vec<&str> = text.split(',').collect();
        if pieces.len() > PARTS_MAX {
            return Err(format!("at most {PARTS_MAX} rates"));
        }
        let (mut parts, mut begins_s, mut before) = (Vec::new(), 0.0, 0.0);
        for (at, piece) in pieces.iter().enumerate() {
            let (rates, time) = piece.split_once(':').map_or((*piece, None), |(rates, time)| (rates, Some(time)));
            let (from, to) = rates.split_once('-').unwrap_or((rates, rates));
            let (from_per_s, to_per_s) = (rate(from)?, rate(to)?);
            let lasts_s = time.map(&duration).transpose()?.map_or(f64::INFINITY, |time| time.as_secs_f64());
            let is_last = at + 1 == pieces.len();
            if lasts_s == 0.0 || (!lasts_s.is_finite() && (!is_last || from_per_s != to_per_s)) {
                return Err(format!("{piece}: how long? Expected such as {rates}:10s"));
            }
            let part = Part { from_per_s, to_per_s, lasts_s, begins_s, before };
            begins_s += lasts_s;
            before += part.count();
            parts.push(part);
        }
        // The last rate applies to all requests that are left.
        if let Some(last) = parts.last().copied().filter(|last| last.lasts_s.is_finite()) {
            let rate = last.to_per_s;
            parts.push(Part { from_per_s: rate, to_per_s: rate, lasts_s: f64::INFINITY, begins_s, before });
        }
        Ok(Self { parts, text: text.to_owned() })
    }

    /// When arrival `number`, from 0, is due.
    pub(crate) fn due_ns(&self, number: u64) -> u64 {
        let number = number as f64;
        let at = self.parts.partition_point(|part| part.before <= number).saturating_sub(1);
        let part = &self.parts[at];
        nanos(part.begins_s + part.due_s(number - part.before))
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.trim().parse::<f64>().ok().filter(|rate| RATE_PER_S.contains(rate));
    rate.ok_or_else(|| "expected requests a second, 0.1 to 10000000".to_owned())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as saturates, and no time is negative")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::duration;

    fn check(text: &str, due_ms: &[(u64, u64)]) {
        let arrivals = Arrivals::parse(text, duration).unwrap();
        for (number, expect) in due_ms {
            let found = (arrivals.due_ns(*number) as f64 / 1e6).round();
            assert_eq!(found, *expect as f64, "{text}, arrival {number}");
        }
    }

    #[test]
    fn every_shape() {
        check("100", &[(0, 0), (1, 10), (1000, 10_000)]);
        // 10 arrivals in the first second, 20 in the next, then 40 a second.
        check("10:1s,20:1s,40", &[(9, 900), (10, 1000), (11, 1050), (30, 2000), (34, 2100)]);
        // From 0.1 to 99.9 a second in 10 s: 500 arrivals, a quarter of them in the first half.
        check("0.1-99.9:10s", &[(500, 10_000), (125, 4_995), (1499, 20_000)]);
        check("100-50:1s,50", &[(75, 1000), (76, 1020)]);
        check("10:1s,1000:100ms,10", &[(10, 1000), (60, 1050), (110, 1100), (111, 1200)]);
    }

    #[test]
    fn arrivals_never_go_back_in_time() {
        let arrivals = Arrivals::parse("1-1000:2s,1000-3:1s,7:100ms", duration).unwrap();
        let due: Vec<u64> = (0..5000).map(|number| arrivals.due_ns(number)).collect();
        assert!(due.is_sorted());
    }

    #[test]
    fn faults_are_in_words() {
        for (text, told) in [
            ("", "requests a second"),
            ("0", "requests a second"),
            ("5:", "such as 1500ms"),
            ("5:0s", "how long?"),
            ("5,6", "5: how long?"),
            ("5-6", "5-6: how long?"),
            ("NaN", "requests a second"),
            ("1-2-3:1s", "requests a second"),
        ] {
            let fault = Arrivals::parse(text, duration).unwrap_err();
            assert!(fault.contains(told), "{text}: {fault}");
        }
        assert!(Arrivals::parse(&vec!["1:1s"; 101].join(","), duration).is_err());
    }
}
