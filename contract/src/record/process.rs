//! What every process of the mall reports of itself once a second.

use super::{Record, begin, header, kind, only};
use crate::codec::{DecodeError, Reader, Writer};

/// Bytes of a host's name.
pub const HOST_BYTES_MAX: usize = 64;
/// Bytes of a version.
pub const VERSION_BYTES_MAX: usize = 32;
/// Worker ids of one report; a gateway has one for each core.
pub const WORKERS_MAX: usize = 256;
/// Reasons of refusals in one report.
pub const REASONS_MAX: usize = 64;
/// Bytes of one reason.
pub const REASON_BYTES_MAX: usize = 48;

/// Upper bounds of the buckets of every latency histogram, in microseconds: from one sync of a disk to the longest request.
/// They are the same in every process, so histograms can be added.
pub const LATENCY_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];
const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// A service of the mall. One process may run several; each of them reports for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessRole {
    /// Takes reservations.
    Gateway,
    /// Keeps the database, and serves the shop.
    OrderCore,
    /// Serves the staff.
    Admin,
}

impl ProcessRole {
    /// The word in API answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::OrderCore => "order-core",
            Self::Admin => "admin",
        }
    }
}

/// How long things took since the process started, in buckets that can be added to those of another process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many took at most as long as the bound of the same index in [`LATENCY_BOUNDS_US`], and longer than the bound
    /// before; last, how many took longer than all bounds.
    pub counts: [u64; BUCKETS],
    /// The sum of all durations, in microseconds.
    pub sum_us: u64,
}

impl Latency {
    /// Adds what another process measured.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many were measured.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The upper bound of the bucket with the quantile `per_mille`, in microseconds. `None` if nothing was measured, or if
    /// it lies above all bounds.
    pub fn quantile_us(&self, per_mille: u64) -> Option<u64> {
        let rank = (u128::from(self.count()) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut below = 0_u128;
        for (count, bound) in self.counts.iter().zip(LATENCY_BOUNDS_US) {
            below += u128::from(*count);
            if below >= rank {
                return Some(bound);
            }
        }
        None
    }
}

/// What a process reports of one of its services, on [`crate::topic::PROCESSES`]. All counts are since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessReport {
    /// A random number above zero, drawn at each start.
    pub process: i64,
    /// Which service.
    pub role: ProcessRole,
    /// The host on which it runs; at most [`HOST_BYTES_MAX`] bytes.
    pub host: String,
    /// The version of the program; at most [`VERSION_BYTES_MAX`] bytes.
    pub version: String,
    /// The worker ids with which it makes ids; at most [`WORKERS_MAX`].
    pub workers: Vec<u16>,
    /// When it started, by its clock, epoch milliseconds.
    pub started_at_ms: u64,
    /// When it reported this, by its clock, epoch milliseconds.
    pub at_ms: u64,
    /// Requests that it answered.
    pub answers: u64,
    /// Those that it accepted: of a gateway the reservations that were confirmed, else the answers below 400.
    pub accepted: u64,
    /// Refusals by reason, at most [`REASONS_MAX`]: of a gateway by the code of its problems, else by class of status.
    pub refusals: Vec<Refusals>,
    /// Of a gateway how long ledgers took to answer batches, else how long requests took.
    pub latency: Latency,
}

/// How often a process refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// At most [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
    /// Since the start of the process.
    pub count: u64,
}

impl ProcessReport {
    /// Cuts what is longer than a record may be. Of the refusals, the most frequent stay.
    pub fn clip(&mut self) {
        clip(&mut self.host, HOST_BYTES_MAX);
        clip(&mut self.version, VERSION_BYTES_MAX);
        self.workers.truncate(WORKERS_MAX);
        if self.refusals.len() > REASONS_MAX {
            self.refusals.sort_by_key(|refusals| std::cmp::Reverse(refusals.count));
            self.refusals.truncate(REASONS_MAX);
        }
        for refusals in &mut self.refusals {
            clip(&mut refusals.reason, REASON_BYTES_MAX);
        }
    }
}

fn clip(text: &mut String, bytes_max: usize) {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
}

fn short_text(reader: &mut Reader<'_>, bytes_max: usize) -> Result<String, DecodeError> {
    let text = reader.text()?;
    if text.len() > bytes_max { Err(DecodeError::OutOfRange) } else { Ok(text) }
}

fn count(reader: &mut Reader<'_>, max: usize) -> Result<usize, DecodeError> {
    usize::try_from(reader.u32()?).ok().filter(|count| *count <= max).ok_or(DecodeError::OutOfRange)
}

fn length(list: usize, max: usize) -> u32 {
    assert!(list <= max, "{list} items in a report of at most {max}: it was not clipped");
    u32::try_from(list).unwrap_or(u32::MAX)
}

impl Record for ProcessReport {
    /// # Panics
    /// If a part is longer than [`ProcessReport::clip`] leaves it.
    fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.host.len() <= HOST_BYTES_MAX && self.version.len() <= VERSION_BYTES_MAX, "it was not clipped");
        let mut writer: Writer<'_> = begin(out, kind::PROCESS_REPORT);
        let role = match self.role {
            ProcessRole::Gateway => 0,
            ProcessRole::OrderCore => 1,
            ProcessRole::Admin => 2,
        };
        writer.i64(self.process).u8(role).text(&self.host).text(&self.version);
        writer.u32(length(self.workers.len(), WORKERS_MAX));
        for worker in &self.workers {
            writer.u32(u32::from(*worker));
        }
        writer.u64(self.started_at_ms).u64(self.at_ms).u64(self.answers).u64(self.accepted);
        writer.u32(length(self.refusals.len(), REASONS_MAX));
        for Refusals { reason, count } in &self.refusals {
            assert!(reason.len() <= REASON_BYTES_MAX, "it was not clipped");
            writer.text(reason).u64(*count);
        }
        for count in &self.latency.counts {
            writer.u64(*count);
        }
        writer.u64(self.latency.sum_us);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = header(bytes)?;
        only(kind, kind::PROCESS_REPORT)?;
        let process = reader.i64()?;
        if process <= 0 {
            return Err(DecodeError::OutOfRange);
        }
        let role = match reader.u8()? {
            0 => ProcessRole::Gateway,
            1 => ProcessRole::OrderCore,
            2 => ProcessRole::Admin,
            _ => return Err(DecodeError::OutOfRange),
        };
        let host = short_text(&mut reader, HOST_BYTES_MAX)?;
        let version = short_text(&mut reader, VERSION_BYTES_MAX)?;
        let workers = (0..count(&mut reader, WORKERS_MAX)?)
            .map(|_| u16::try_from(reader.u32()?).map_err(|_| DecodeError::OutOfRange))
            .collect::<Result<_, _>>()?;
        let (started_at_ms, at_ms) = (reader.u64()?, reader.u64()?);
        let (answers, accepted) = (reader.u64()?, reader.u64()?);
        let refusals = (0..count(&mut reader, REASONS_MAX)?)
            .map(|_| Ok(Refusals { reason: short_text(&mut reader, REASON_BYTES_MAX)?, count: reader.u64()? }))
            .collect::<Result<_, DecodeError>>()?;
        let mut latency = Latency::default();
        for count in &mut latency.counts {
            *count = reader.u64()?;
        }
        latency.sum_us = reader.u64()?;
        reader.end()?;
        Ok(Self { process, role, host, version, workers, started_at_ms, at_ms, answers, accepted, refusals, latency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ProcessReport {
        ProcessReport {
            process: 7,
            role: ProcessRole::Gateway,
            host: "h".repeat(63) + "é",
            version: "1".to_owned(),
            workers: vec![3; 1000],
            started_at_ms: 1,
            at_ms: 2,
            answers: 3,
            accepted: 4,
            refusals: (0..100).map(|count| Refusals { reason: "原".repeat(40), count }).collect(),
            latency: Latency { counts: [u64::MAX; BUCKETS], sum_us: u64::MAX },
        }
    }

    #[test]
    fn the_longest_report_is_below_8_kib() {
        let mut report = report();
        report.clip();
        assert_eq!(
            (report.host.len(), report.refusals[0].count),
            (63, 99),
            "whole characters, the most frequent first"
        );
        let bytes = report.to_bytes();
        assert!(bytes.len() < 8 * 1024, "{} bytes", bytes.len());
        assert_eq!(ProcessReport::decode(&bytes), Ok(report));
    }

    #[test]
    fn histograms_add_up() {
        let mut sum = Latency::default();
        assert_eq!((sum.count(), sum.quantile_us(500)), (0, None));
        let mut one = Latency::default();
        (one.counts[1], one.sum_us) = (99, 990);
        let mut other = Latency::default();
        (other.counts[BUCKETS - 1], other.sum_us) = (1, 11_000_000);
        sum.merge(&one);
        sum.merge(&other);
        assert_eq!((sum.count(), sum.sum_us), (100, 11_000_990));
        assert_eq!(
            (sum.quantile_us(500), sum.quantile_us(990), sum.quantile_us(999)),
            (Some(1_000), Some(1_000), None)
        );
    }
}
