//! Limits that a run must keep, given as `--fail-if 'p99>5ms'`.

use crate::{audit::Check, options::duration, record::Record};

/// A condition under which a run has failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    text: String,
    figure: Figure,
    above: bool,
    limit: f64,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    /// A quantile of the corrected latency, by its name.
    Quantile(&'static str),
    Max,
    AnswersPerS,
    ReservationsPerS,
    DurablePerS,
    Late,
    Dropped,
    Lost,
}

const FIGURES: [(&str, Figure); 12] = [
    ("p50", Figure::Quantile("p50")),
    ("p90", Figure::Quantile("p90")),
    ("p99", Figure::Quantile("p99")),
    ("p99.9", Figure::Quantile("p99.9")),
    ("p99.99", Figure::Quantile("p99.99")),
    ("max", Figure::Max),
    ("answers/s", Figure::AnswersPerS),
    ("reservations/s", Figure::ReservationsPerS),
    ("durable/s", Figure::DurablePerS),
    ("late", Figure::Late),
    ("dropped", Figure::Dropped),
    ("lost", Figure::Lost),
];

impl Threshold {
    /// Reads `p99>5ms` or `answers/s<1000`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let above = text.contains('>');
        let parts = text.split_once(if above { '>' } else { '<' });
        let (name, limit) = parts.ok_or_else(|| "expected such as p99>5ms or answers/s<1000".to_owned())?;
        let names = || FIGURES.map(|(name, _)| name).join(", ");
        let figure = FIGURES.iter().find(|(known, _)| *known == name.trim()).map(|(_, figure)| *figure);
        let figure = figure.ok_or_else(|| format!("unknown figure {name}; expected one of {}", names()))?;
        let limit = limit.trim();
        let limit = match figure {
            Figure::Quantile(_) | Figure::Max => duration(limit)?.as_secs_f64() * 1e9,
            Figure::AnswersPerS
            | Figure::ReservationsPerS
            | Figure::DurablePerS
            | Figure::Late
            | Figure::Dropped
            | Figure::Lost => {
                let number = limit.parse::<f64>().ok().filter(|number| number.is_finite());
                number.ok_or_else(|| format!("{limit} is not a number"))?
            }
        };
        Ok(Self { text: text.to_owned(), figure, above, limit })
    }

    /// Whether the run kept the limit. A figure that was not measured does not.
    pub(crate) fn check(&self, record: &Record) -> Check {
        let (figures, client, latency) = (&record.figures, &record.client, &record.latency.corrected);
        let answered = |ns: u64| (latency.count > 0).then_some(ns as f64);
        let (found, unit, per) = match self.figure {
            Figure::Quantile(name) => (answered(latency.quantile_ns(name)), " ms", 1e6),
            Figure::Max => (answered(latency.max_ns), " ms", 1e6),
            Figure::AnswersPerS => (Some(figures.answers_per_s), "/s", 1.0),
            Figure::ReservationsPerS => (Some(figures.reservations_per_s), "/s", 1.0),
            Figure::DurablePerS => (figures.durable_orders_per_s, "/s", 1.0),
            Figure::Late => (Some(client.late as f64), "", 1.0),
            Figure::Dropped => (Some(client.dropped as f64), "", 1.0),
            Figure::Lost => (Some(client.requests_lost as f64), "", 1.0),
        };
        let fails = |found: f64| if self.above { found > self.limit } else { found < self.limit };
        let detail = found.map_or("not measured".to_owned(), |found| format!("{:.3}{unit}", found / per));
        Check { id: format!("fail-if {}", self.text), ok: found.is_some_and(|found| !fails(found)), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_compared() {
        let threshold = Threshold::parse("p99>5ms").unwrap();
        assert_eq!((threshold.figure, threshold.above, threshold.limit), (Figure::Quantile("p99"), true, 5e6));
        assert_eq!(Threshold::parse("answers/s < 10.5").unwrap().limit, 10.5);
        for (text, told) in [
            ("p99", "expected such as"),
            ("p98>5ms", "p99.9, p99.99"),
            ("p99>5", "such as 1500ms"),
            ("late>many", "not a number"),
            ("late>NaN", "not a number"),
        ] {
            let fault = Threshold::parse(text).unwrap_err();
            assert!(fault.contains(told), "{text}: {fault}");
        }
    }
}
