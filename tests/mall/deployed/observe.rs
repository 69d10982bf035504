//! Alerts and dashboard: their metrics and labels are the program's, and each alert has an entry in the manual.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Files, Program, text};

const RULES: &str = "deploy/prometheus/rules.yml";
const DASHBOARD: &str = "deploy/grafana/mall.json";
const MANUAL: &str = "docs/operations.md";
/// Labels that Prometheus adds, and those that only a query has.
const OTHER_LABELS: &[&str] = &["instance", "job", "role", "le"];

/// Names of metrics in `expression`.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("mall_"))
}

/// Whether the text of `/metrics` has the metric `name`, or a histogram of which it is a part.
fn has_metric(text: &str, name: &str) -> bool {
    let family = |name: &str| text.contains(&format!("# TYPE {name} "));
    let histogram = |family: &str| text.contains(&format!("# TYPE {family} histogram\n"));
    family(name) || ["_bucket", "_sum", "_count"].iter().any(|part| name.strip_suffix(part).is_some_and(histogram))
}

/// Labels and values in the matchers of `expression`; of alternatives each.
fn matched(expression: &str) -> Vec<(String, String)> {
    let selectors = expression.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let mut pairs = Vec::new();
    for matcher in selectors.flat_map(|selector| selector.split(',')) {
        let (name, value) = matcher.split_once('=').unwrap_or((matcher, ""));
        for value in value.trim_matches(['~', '"']).split('|') {
            pairs.push((name.trim().trim_end_matches('!').to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    pairs
}

/// Labels by which `expression` groups.
fn grouped(expression: &str) -> Vec<&str> {
    let lists = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',').map(str::trim)).collect()
}

pub(super) fn compare(files: &Files, program: &Program, faults: &mut Vec<String>) {
    let rules = files.yaml(RULES).remove(0);
    let manual = files.text(MANUAL);
    let mut alerts = BTreeSet::new();
    let mut expressions: Vec<(String, String)> = Vec::new();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let alert = text(&rule["alert"]);
        if !manual.contains(&format!("\n### {alert}\n")) {
            faults.push(format!("{MANUAL}: it does not say what to do about {alert}"));
        }
        expressions.push((format!("{RULES}: {alert}"), text(&rule["expr"])));
        alerts.insert(alert);
    }
    for entry in manual.lines().filter_map(|line| line.strip_prefix("### ")).filter(|entry| entry.starts_with("Mall")) {
        if !alerts.contains(entry) {
            faults.push(format!("{MANUAL}: there is no alert {entry}"));
        }
    }
    let board: Value = serde_json::from_str(&files.text(DASHBOARD)).unwrap();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push((format!("{DASHBOARD}: {}", text(&panel["title"])), text(&target["expr"])));
        }
    }
    for (at, expression) in &expressions {
        for name in metrics(expression).filter(|name| !has_metric(&program.metrics, name)) {
            faults.push(format!("{at}: there is no metric {name}"));
        }
        for (label, value) in matched(expression).iter().filter(|(label, _)| !OTHER_LABELS.contains(&label.as_str())) {
            if !program.metrics.contains(&format!("{label}=\"{value}\"")) {
                faults.push(format!("{at}: no metric has {label}={value}"));
            }
        }
        for label in grouped(expression).into_iter().filter(|label| !OTHER_LABELS.contains(label)) {
            if !program.metrics.contains(&format!("{label}=\"")) {
                faults.push(format!("{at}: no metric has the label {label}"));
            }
        }
    }
}
