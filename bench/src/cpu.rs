//! Time on the processor that other processes took, thread by thread, as the kernel counts it.

use std::{collections::BTreeMap, fs, path::Path};

/// A process, and what it is called here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub name: String,
    pub pid: u32,
}

/// Nanoseconds by process and kind of thread.
pub(crate) type Times = BTreeMap<(String, String), u64>;

/// What every thread of `watched` has taken since it began. A thread that ends takes its time with it.
pub(crate) fn times(watched: &[Watched]) -> Result<Times, String> {
    let mut times = Times::new();
    for Watched { name, pid } in watched {
        let tasks = format!("/proc/{pid}/task");
        let threads = fs::read_dir(&tasks).map_err(|error| format!("--cpu {name}={pid}: {tasks}: {error}"))?;
        for thread in threads.flatten() {
            let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let taken = read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            *times.entry((name.clone(), kind(&read("comm")))).or_default() += taken;
        }
    }
    Ok(times)
}

#[cfg(any(feature = "figures", test))]
/// Bytes of memory that a process has now (`VmRSS` of proc(5)).
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| format!("{path}: no VmRSS"))
}

/// What was taken between the two.
pub(crate) fn between(before: &Times, after: &Times) -> Times {
    let taken = |(key, after): (&(String, String), &u64)| {
        (key.clone(), after.saturating_sub(before.get(key).copied().unwrap_or(0)))
    };
    after.iter().map(taken).filter(|(_, ns)| *ns > 0).collect()
}

/// A line for each kind of thread, the dearest first, and one for each process: microseconds per `per`.
pub(crate) fn lines(times: &Times, count: u64, per: &str) -> Vec<String> {
    let each = |ns: u64| ns as f64 / 1e3 / (count.max(1)) as f64;
    let mut sums = BTreeMap::<&str, u64>::new();
    for ((process, _), ns) in times {
        *sums.entry(process).or_default() += ns;
    }
    let mut lines = Vec::new();
    for (process, sum) in sums {
        lines.push(format!("cpu, {process:<12} {:>8.2} us per {per}", each(sum)));
        let mut threads: Vec<_> = times.iter().filter(|((of, _), _)| of == process).collect();
        threads.sort_by_key(|(_, ns)| std::cmp::Reverse(**ns));
        if threads.len() > 1 {
            let thread = |((_, thread), ns): &(&(String, String), &u64)| format!("{thread} {:.2}", each(**ns));
            let threads: Vec<String> = threads.iter().map(thread).collect();
            lines.push(format!("     of it          {}", threads.join(", ")));
        }
    }
    lines
}

/// A thread's name without its number.
fn kind(comm: &str) -> String {
    let name = comm.trim().trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_', ':']);
    let base = Path::new(name).file_name().and_then(|name| name.to_str());
    base.filter(|name| !name.is_empty()).unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_time() {
        let watched = [Watched { name: "me".to_owned(), pid: std::process::id() }];
        let before = times(&watched).unwrap();
        let mut sum = 0_u64;
        while between(&before, &times(&watched).unwrap()).is_empty() {
            sum = std::hint::black_box(sum).wrapping_add(1);
        }
        assert!(resident_bytes(std::process::id()).unwrap() > 1 << 20);
        assert!(times(&[Watched { name: "none".to_owned(), pid: 0 }]).is_err());
    }

    #[test]
    fn threads_of_a_kind_are_one() {
        assert_eq!(["gateway-0\n", "rdk:broker1", "relay", "12"].map(kind), ["gateway", "rdk:broker", "relay", "?"]);
        let times = Times::from([
            (("a".to_owned(), "x".to_owned()), 3_000),
            (("a".to_owned(), "y".to_owned()), 5_000),
            (("b".to_owned(), "x".to_owned()), 1_000),
        ]);
        let lines = lines(&times, 2, "answer");
        assert_eq!(lines.len(), 3);
        assert!(lines[0].ends_with("4.00 us per answer") && lines[1].ends_with("y 2.50, x 1.50"), "{lines:?}");
    }
}
