//! What a process knows of itself from its start on.

use contract::record::{Latency, ProcessReport, ProcessRole};

use crate::data_dir::random_hex;

/// Where Linux has the host's name.
const HOST_FILE: &str = "/proc/sys/kernel/hostname";

/// A report of `role` in this process without any counts. `workers` are the worker ids with which it makes ids.
///
/// # Errors
/// If the system has no randomness.
pub fn describe(role: ProcessRole, workers: Vec<u16>, now_ms: u64) -> Result<ProcessReport, getrandom::Error> {
    let host = std::fs::read_to_string(HOST_FILE).unwrap_or_default();
    let mut report = ProcessReport {
        process: random_number()?,
        role,
        host: host.trim().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        workers,
        started_at_ms: now_ms,
        at_ms: now_ms,
        answers: 0,
        accepted: 0,
        refusals: Vec::new(),
        latency: Latency::default(),
    };
    report.clip();
    Ok(report)
}

/// A random number above zero, such as no other process has.
///
/// # Errors
/// If the system has no randomness.
pub fn random_number() -> Result<i64, getrandom::Error> {
    let digits = random_hex(8)?;
    let random = u64::from_str_radix(&digits, 16).unwrap_or_default() >> 1;
    Ok(i64::try_from(random.max(1)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_a_number_of_its_own() {
        let start = || describe(ProcessRole::Admin, vec![3], 9).unwrap();
        let (one, other) = (start(), start());
        assert!(one.process > 0 && one.process != other.process);
        assert_eq!((one.workers, one.started_at_ms, one.version.is_empty()), (vec![3], 9, false));
    }
}
