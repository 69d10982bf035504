//! What happened over time: answers, reservations and latencies by time slot. Memory does not grow with the length of a run.

use serde::{Deserialize, Serialize};

/// Slots; where they do not suffice, two become one.
const SLOTS_MAX: usize = 240;
const FIRST_WIDTH_NS: u64 = 25_000_000;
/// Rows of the heat map: two an octave, from 32 us to more than a minute.
pub(crate) const HEAT_ROWS: usize = 44;
const HEAT_FROM_NS: f64 = 32_000.0;
/// Looks at stock and orders; where they do not suffice, every second one goes.
const LOOKS_MAX: usize = 240;

/// One time slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Slot {
    pub answers: u64,
    /// Buyers who got an order and had none before.
    pub reservations: u64,
    /// Answers by latency: row r has those from 32 us * 2^(r/2).
    pub heat: Vec<u64>,
}

impl Slot {
    fn new() -> Self {
        Self { answers: 0, reservations: 0, heat: vec![0; HEAT_ROWS] }
    }

    fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.reservations += other.reservations;
        for (sum, count) in self.heat.iter_mut().zip(&other.heat) {
            *sum += count;
        }
    }
}

/// Slots of one width, the first one from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Series {
    pub width_ns: u64,
    pub slots: Vec<Slot>,
}

impl Series {
    pub(crate) const fn new() -> Self {
        Self { width_ns: FIRST_WIDTH_NS, slots: Vec::new() }
    }

    /// Counts an answer.
    pub(crate) fn answered(&mut self, answered_ns: u64, took_ns: u64, is_reservation: bool) {
        while self.at(answered_ns) >= SLOTS_MAX {
            self.halve();
        }
        let at = self.at(answered_ns);
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::new());
        }
        let slot = &mut self.slots[at];
        slot.answers += 1;
        slot.reservations += u64::from(is_reservation);
        slot.heat[row(took_ns)] += 1;
    }

    fn at(&self, at_ns: u64) -> usize {
        usize::try_from(at_ns / self.width_ns).unwrap_or(usize::MAX)
    }

    fn halve(&mut self) {
        self.width_ns *= 2;
        let pairs = self.slots.chunks(2).map(|pair| {
            let mut slot = pair[0].clone();
            if let Some(second) = pair.get(1) {
                slot.add(second);
            }
            slot
        });
        self.slots = pairs.collect();
    }
}

/// Stock and orders at one moment, as the mall's audit has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Look {
    pub at_ns: u64,
    pub available: i64,
    pub durable_orders: i64,
}

/// Looks at about equal distances.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    looks: Vec<Look>,
    /// Looks that are passed over after each one that is kept.
    skip: u32,
    skipped: u32,
}

impl Looks {
    pub(crate) fn add(&mut self, look: Look) {
        if self.skipped < self.skip {
            self.skipped += 1;
            return;
        }
        self.skipped = 0;
        if self.looks.len() == LOOKS_MAX {
            let mut keep = false;
            self.looks.retain(|_| {
                keep = !keep;
                keep
            });
            self.skip = self.skip * 2 + 1;
        }
        self.looks.push(look);
    }

    pub(crate) fn into_vec(self) -> Vec<Look> {
        self.looks
    }
}

/// The lower end of a row of the heat map.
pub(crate) fn row_from_ns(row: usize) -> f64 {
    HEAT_FROM_NS * (row as f64 / 2.0).exp2()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped first")]
fn row(took_ns: u64) -> usize {
    let row = 2.0 * (took_ns as f64 / HEAT_FROM_NS).log2();
    row.clamp(0.0, (HEAT_ROWS - 1) as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_wider_slots_and_the_same_sums() {
        let mut series = Series::new();
        for number in 0..100_000 {
            series.answered(number * 10_000_000, number * 1_000, number % 10 == 0);
        }
        assert!(series.slots.len() <= SLOTS_MAX && series.slots.len() > SLOTS_MAX / 4, "{}", series.slots.len());
        let sum = |of: fn(&Slot) -> u64| series.slots.iter().map(of).sum::<u64>();
        assert_eq!((sum(|slot| slot.answers), sum(|slot| slot.reservations)), (100_000, 10_000));
        assert_eq!(sum(|slot| slot.heat.iter().sum()), 100_000);
    }

    #[test]
    fn rows_hold_what_they_say() {
        for took_ns in [0, 31_999, 32_001, 45_000, 46_000, 1_000_000, 60_000_000_000, u64::MAX] {
            let row = row(took_ns);
            assert!(row == 0 || took_ns as f64 >= row_from_ns(row), "{took_ns}");
            assert!(row == HEAT_ROWS - 1 || (took_ns as f64) < row_from_ns(row + 1), "{took_ns}");
        }
    }

    #[test]
    fn looks_are_thinned() {
        let mut looks = Looks::default();
        for at_ns in 0..10_000 {
            looks.add(Look { at_ns, available: 0, durable_orders: 0 });
        }
        let kept = looks.into_vec();
        assert!(kept.len() <= LOOKS_MAX && kept.len() > LOOKS_MAX / 4);
        assert!(kept.iter().map(|look| look.at_ns).is_sorted() && kept[0].at_ns == 0);
    }
}
