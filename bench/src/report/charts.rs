//! The charts of a run.

use super::{
    grouped,
    svg::{Chart, Scale},
    time,
};
use crate::{
    record::{Distribution, Record},
    series::{HEAT_ROWS, row_from_ns},
};

const WIDE: (f64, f64) = (960.0, 300.0);
const FLAT: (f64, f64) = (960.0, 170.0);
/// Columns of the heat map at most.
const HEAT_COLUMNS_MAX: usize = 120;

/// Latency by percentile, on the scale on which each nine is as wide as the one before.
pub(super) fn percentiles(record: &Record) -> String {
    let latency = &record.latency;
    let most = latency.corrected.max_ns.max(latency.raw.max_ns).max(1_000) as f64;
    let least = [&latency.corrected, &latency.raw]
        .map(|distribution| distribution.curve.first().map_or(1_000, |point| point.value_ns));
    let least = least.into_iter().min().unwrap_or(1_000).max(1_000) as f64;
    let nines = (latency.corrected.count.max(10) as f64).max(10.0);
    let x = Scale::log(1.0, nines);
    let names = [
        (0.0, "0"),
        (0.5, "50 %"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
        (0.99999, "99.999 %"),
    ];
    let x_ticks = names
        .iter()
        .filter(|(quantile, _)| inverse(*quantile) <= nines)
        .map(|(quantile, name)| (inverse(*quantile), (*name).to_owned()));
    let y = Scale::log(least * 0.8, most * 1.2);
    let mut chart = Chart::new("Latency by percentile", WIDE, (x, x_ticks.collect()), (y, times(&y)));
    for (class, distribution) in [("c3", &latency.accepted), ("c2", &latency.raw), ("c1", &latency.corrected)] {
        let points = points(distribution, nines);
        if !points.is_empty() {
            chart.line(class, &points, false);
        }
    }
    for pair in latency.corrected.curve.windows(2) {
        let (from, to) = (inverse(pair[0].quantile), inverse(pair[1].quantile).min(nines));
        if from < to {
            chart.hint(
                from,
                to,
                &format!("{:.4} % within {} (corrected)", 100.0 * pair[1].quantile, time(pair[1].value_ns as f64)),
            );
        }
    }
    chart.finish()
}

fn inverse(quantile: f64) -> f64 {
    if quantile < 1.0 { 1.0 / (1.0 - quantile) } else { f64::INFINITY }
}

fn points(distribution: &Distribution, nines: f64) -> Vec<(f64, f64)> {
    distribution.curve.iter().map(|point| (inverse(point.quantile).min(nines), point.value_ns as f64)).collect()
}

fn times(scale: &Scale) -> Vec<(f64, String)> {
    scale.ticks().into_iter().map(|tick| (tick, time(tick).replace(".00", "").replace(".0 ", " "))).collect()
}

fn counts(scale: &Scale) -> Vec<(f64, String)> {
    scale.ticks().into_iter().map(|tick| (tick, grouped(tick))).collect()
}

/// Seconds of the whole run, until the last order was durable.
fn length_s(record: &Record) -> f64 {
    let looks = record.looks.last().map_or(0.0, |look| look.at_ns as f64 / 1e9);
    record.wall_s.max(looks).max(0.001)
}

fn seconds(scale: &Scale) -> Vec<(f64, String)> {
    let ticks = scale.ticks();
    let digits = if ticks.get(1).is_some_and(|second| *second < 0.1) {
        2
    } else if ticks.get(1).is_some_and(|second| *second < 1.0) {
        1
    } else {
        0
    };
    ticks.into_iter().map(|tick| (tick, format!("{tick:.digits$} s"))).collect()
}

/// A rate over time: `(from_s, to_s, per_s)`.
fn rates(name: &str, class: &str, record: &Record, rates: &[(f64, f64, f64)]) -> String {
    let x = Scale::exact(length_s(record));
    let y = Scale::linear(rates.iter().map(|(.., rate)| *rate).fold(1.0, f64::max));
    let mut chart = Chart::new(name, FLAT, (x, seconds(&x)), (y, counts(&y)));
    // Steps: a slot has one rate.
    let points: Vec<(f64, f64)> = rates.iter().flat_map(|(from, to, rate)| [(*from, *rate), (*to, *rate)]).collect();
    chart.line(class, &points, true);
    for (from, to, rate) in rates {
        chart.hint(*from, *to, &format!("{from:.2} to {to:.2} s: {}/s", grouped(*rate)));
    }
    chart.finish()
}

fn slots(record: &Record, count: impl Fn(&crate::series::Slot) -> u64) -> Vec<(f64, f64, f64)> {
    let width_s = record.series.width_ns as f64 / 1e9;
    let slot = |(number, slot): (usize, &crate::series::Slot)| {
        let from = number as f64 * width_s;
        // The last slot ends with the run.
        let to = if number + 1 == record.series.slots.len() {
            record.wall_s.clamp(from + width_s / 10.0, from + width_s)
        } else {
            from + width_s
        };
        (from, to, count(slot) as f64 / (to - from))
    };
    record.series.slots.iter().enumerate().map(slot).collect()
}

pub(super) fn answers(record: &Record) -> String {
    rates("Answers a second over time", "c1", record, &slots(record, |slot| slot.answers))
}

pub(super) fn reservations(record: &Record) -> String {
    rates("Reservations a second over time", "c3", record, &slots(record, |slot| slot.reservations))
}

/// Orders that the database got between two looks; `None` if nobody looked.
pub(super) fn durable(record: &Record) -> Option<String> {
    let (mut found, mut before) = (Vec::new(), (0.0, 0_i64));
    for look in &record.looks {
        let at_s = look.at_ns as f64 / 1e9;
        // Looks that are close together say little about a rate.
        if at_s - before.0 < length_s(record) / 200.0 {
            continue;
        }
        found.push((before.0, at_s, (look.durable_orders - before.1).max(0) as f64 / (at_s - before.0)));
        before = (at_s, look.durable_orders);
    }
    (!found.is_empty()).then(|| rates("Durable orders a second over time", "c4", record, &found))
}

/// Units that are left, and orders in the database; `None` if nobody looked.
pub(super) fn stock(record: &Record) -> Option<String> {
    let last = record.looks.last()?;
    let most = record.looks.iter().map(|look| look.available.max(look.durable_orders)).max().unwrap_or(1);
    let (x, y) = (Scale::exact(length_s(record)), Scale::linear(most.max(1) as f64));
    let mut chart = Chart::new("Stock over time", FLAT, (x, seconds(&x)), (y, counts(&y)));
    let line = |value: fn(&crate::series::Look) -> i64| -> Vec<(f64, f64)> {
        record.looks.iter().map(|look| (look.at_ns as f64 / 1e9, value(look) as f64)).collect()
    };
    chart.line("c1", &line(|look| look.available), true);
    chart.line("c4", &line(|look| look.durable_orders), false);
    for pair in record.looks.windows(2) {
        let (from, to) = (pair[0].at_ns as f64 / 1e9, pair[1].at_ns as f64 / 1e9);
        let (left, orders) = (grouped(pair[1].available as f64), grouped(pair[1].durable_orders as f64));
        chart.hint(from, to, &format!("{to:.2} s: {left} units left, {orders} orders in the database"));
    }
    debug_assert!(last.at_ns as f64 / 1e9 <= length_s(record));
    Some(chart.finish())
}

/// How many answers had which latency at which time.
pub(super) fn heat(record: &Record) -> String {
    let merged = record.series.slots.len().div_ceil(HEAT_COLUMNS_MAX).max(1);
    let width_s = record.series.width_ns as f64 / 1e9 * merged as f64;
    let columns: Vec<Vec<u64>> = record
        .series
        .slots
        .chunks(merged)
        .map(|slots| (0..HEAT_ROWS).map(|row| slots.iter().filter_map(|slot| slot.heat.get(row)).sum()).collect())
        .collect();
    let used = |row: &usize| columns.iter().any(|column| column[*row] > 0);
    let first = (0..HEAT_ROWS).find(used).unwrap_or(0);
    let last = (0..HEAT_ROWS).rev().find(used).unwrap_or(0);
    let x = Scale::exact((width_s * columns.len() as f64).max(0.001));
    let y = Scale::log(row_from_ns(first), row_from_ns(last + 1));
    let mut chart = Chart::new("Latency over time", WIDE, (x, seconds(&x)), (y, times(&y)));
    let most = columns.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    for (number, column) in columns.iter().enumerate() {
        let from = number as f64 * width_s;
        for (row, count) in column.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (low, high) = (row_from_ns(row), row_from_ns(row + 1));
            // A single answer is still to be seen.
            let strength = 0.12 + 0.88 * ((*count as f64).ln_1p() / most.ln_1p());
            let text = format!("{from:.2} s, {} to {}: {}", time(low), time(high), grouped(*count as f64));
            chart.cell((from, from + width_s), (low, high), strength, &text);
        }
    }
    chart.finish()
}
