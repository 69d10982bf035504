//! The text format of HdrHistogram, which its plotters read.

use std::fmt::Write as _;

use crate::record::Distribution;

/// Values in milliseconds.
pub(crate) fn hgrm(distribution: &Distribution) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut line = |text: String| writeln!(out, "{text}").is_ok();
    for point in &distribution.curve {
        let (value, quantile, count) = (point.value_ns as f64 / 1e6, point.quantile, point.count);
        let inverse = if quantile < 1.0 { format!("{:>14.2}", 1.0 / (1.0 - quantile)) } else { String::new() };
        line(format!("{value:>12.3} {quantile:>14.12} {count:>10} {inverse}").trim_end().to_owned());
    }
    let (mean, deviation, max) =
        (distribution.mean_ns / 1e6, distribution.deviation_ns / 1e6, distribution.max_ns as f64 / 1e6);
    line(format!("#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"));
    line(format!("#[Max     = {max:>12.3}, Total count    = {:>12}]", distribution.count));
    line("#[Buckets =           27, SubBuckets     =         2048]".to_owned());
    out
}
