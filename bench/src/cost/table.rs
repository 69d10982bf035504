//! What was measured, as tables in Markdown.

use std::fmt;

use super::Ask;
use super::CostOptions;

/// One rush.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    /// Of the server, and of Redis where it was asked, for one answer.
    pub cpu_us: f64,
    /// Redis' part of it.
    pub redis_us: f64,
    /// The part of the threads that answer; the rest of the process carries what was decided to the log.
    pub core_us: f64,
    /// Answers a second.
    pub rate: f64,
    pub slow: Option<Slow>,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_us, redis_us, core_us, .. } = self;
        write!(f, "{cpu_us:.2} us, of it Redis {redis_us:.2}, threads that answer {core_us:.2}")
    }
}

/// p99 of honest clients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slow {
    pub alone_us: f64,
    pub beside_us: f64,
    /// Connections of slow clients that were ended.
    pub cut: u64,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alone_us, beside_us, cut } = self;
        write!(f, "p99 {alone_us:.0} us alone, {beside_us:.0} us beside them; {cut} were cut")
    }
}

type Readings = [(String, Ask, Reading)];

pub(crate) fn text(options: &CostOptions, readings: &Readings, distances: &[f64]) -> String {
    let names: Vec<&str> = options.floors.iter().chain(&options.gateways).map(|target| target.name.as_str()).collect();
    let gateways: Vec<&str> = options.gateways.iter().map(|target| target.name.as_str()).collect();
    let mut lines = vec![
        format!(
            "{} requests a cell, {} connections, {} rounds; processor time of server (and Redis) per answer in us",
            options.requests, options.connections, options.rounds
        ),
        String::new(),
        row("asked", names.iter().map(|name| (*name).to_owned())),
        row("---", names.iter().map(|_| "---".to_owned())),
    ];
    for ask in Ask::ALL {
        let cell = |name: &&str| spread(&of(readings, name, ask, |reading| reading.cpu_us));
        lines.push(row(ask.name(), names.iter().map(cell)));
    }
    let mut part = |title: &str, part: fn(&Reading) -> f64| {
        let part_of = |name: &&str| spread(&of(readings, name, Ask::Accepted, part));
        let cell = |name: &&str| if gateways.contains(name) { part_of(name) } else { String::new() };
        lines.push(row(title, names.iter().map(cell)));
    };
    part("of accepted, Redis", |reading| reading.redis_us);
    part("of accepted, threads that answer", |reading| reading.core_us);
    part("of accepted, the way to the log", |reading| reading.cpu_us - reading.redis_us - reading.core_us);
    let rate = |name: &&str| spread(&of(readings, name, Ask::Reconnecting, |reading| reading.rate));
    lines.push(row("answers/s, a connection each", names.iter().map(rate)));
    for floor in &options.floors {
        lines.push(String::new());
        lines.push(row(&format!("beside {}", floor.name), gateways.iter().map(|name| (*name).to_owned())));
        lines.push(row("---", gateways.iter().map(|_| "---".to_owned())));
        for ask in Ask::ALL {
            let below = of(readings, &floor.name, ask, |reading| reading.cpu_us);
            let cell = |name: &&str| spread(&ratios(&of(readings, name, ask, |reading| reading.cpu_us), &below));
            lines.push(row(ask.name(), gateways.iter().map(cell)));
        }
        let below = of(readings, &floor.name, Ask::Reconnecting, |reading| reading.rate);
        let cell =
            |name: &&str| spread(&ratios(&of(readings, name, Ask::Reconnecting, |reading| reading.rate), &below));
        lines.push(row("answers/s, a connection each", gateways.iter().map(cell)));
    }
    lines.push(String::new());
    for name in gateways {
        let pipelined = of(readings, name, Ask::Pipelined, |reading| reading.cpu_us);
        let single = of(readings, name, Ask::SoldOut, |reading| reading.cpu_us);
        lines.push(format!("{name}: 16 at once beside one at a time: {}", spread(&ratios(&pipelined, &single))));
        let slow: Vec<Slow> = readings.iter().filter(|(of, ..)| of == name).filter_map(|(.., it)| it.slow).collect();
        let worse: Vec<f64> = slow.iter().map(|slow| slow.beside_us / slow.alone_us).collect();
        lines.push(format!("{name}: p99 beside {} slow clients over p99 alone: {}", options.slow, spread(&worse)));
    }
    lines.push(format!("processors apart (cache line there and back): {} ns", spread(distances)));
    lines.join("\n") + "\n"
}

fn row(head: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {head} | {} |", cells.join(" | "))
}

/// One figure of every round, in their order.
fn of(readings: &Readings, name: &str, ask: Ask, figure: impl Fn(&Reading) -> f64) -> Vec<f64> {
    let those = readings.iter().filter(|(of, asked, reading)| of == name && *asked == ask && reading.slow.is_none());
    those.map(|(.., reading)| figure(reading)).collect()
}

/// Round by round.
fn ratios(over: &[f64], under: &[f64]) -> Vec<f64> {
    over.iter().zip(under).map(|(over, under)| over / under).collect()
}

/// Median (least to most).
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return String::new() };
    let median = sorted[sorted.len() / 2];
    let digits = if *most >= 100.0 { 0 } else { 2 };
    format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_least_and_most() {
        for (values, expect) in
            [(&[3.0, 1.0, 2.0][..], "2.00 (1.00 to 3.00)"), (&[1000.4], "1000 (1000 to 1000)"), (&[], "")]
        {
            assert_eq!(spread(values), expect);
        }
        assert_eq!(ratios(&[2.0, 9.0], &[1.0, 3.0]), [2.0, 3.0]);
    }
}
