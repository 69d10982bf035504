//! Defaults, then the file, then the environment: which value each key ends with, and who set it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::raw::Raw;

/// The prefix of every environment variable that is a setting.
pub(super) const PREFIX: &str = "MALL_";
/// Names the configuration file; no setting itself.
pub(super) const CONFIG_VARIABLE: &str = "MALL_CONFIG";

/// An argument that sets a key as a variable does, and after all of them.
pub(super) const RUNTIME_ARGUMENT: &str = "--runtime";

/// Keys that are true, false or absent.
const OPTIONAL_SWITCHES: [&str; 1] = ["payments.mock"];
/// Keys that are a whole number or absent.
const OPTIONAL_NUMBERS: [&str; 1] = ["shutdown.drain_ms"];

pub(super) struct Layers {
    defaults: BTreeMap<String, Value>,
    merged: Value,
    sources: BTreeMap<String, String>,
    errors: Vec<String>,
}

impl Layers {
    pub(super) fn new() -> Result<Self, serde_json::Error> {
        let merged = serde_json::to_value(Raw::default())?;
        let mut defaults = BTreeMap::new();
        flatten(&merged, "", &mut defaults);
        Ok(Self { defaults, merged, sources: BTreeMap::new(), errors: Vec::new() })
    }

    pub(super) fn merge_yaml(&mut self, path: &str, text: &str) {
        let options = serde_saphyr::options! { with_snippet: false };
        match serde_saphyr::from_str_with_options::<Value>(text, options) {
            Ok(value) => self.merge_section(path, "", &value),
            Err(error) => {
                let line = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
                self.errors.push(format!("{path}: {line}"));
            }
        }
    }

    fn merge_section(&mut self, path: &str, section: &str, value: &Value) {
        let named = if section.is_empty() { path.to_owned() } else { format!("{path}: {section}") };
        let entries = match value {
            Value::Object(entries) => entries,
            // A section whose every line is commented out.
            Value::Null => return,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.errors.push(format!("{named}: expected a section with settings, found {}", kind(value)));
                return;
            }
        };
        for (name, value) in entries {
            let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            let source = format!("{path}: {key}");
            let inside = format!("{key}.");
            if let Some(default) = self.defaults.get(&key) {
                match typed(&key, default, value) {
                    Ok(()) => self.set(&key, value.clone(), source),
                    Err(problem) => self.errors.push(format!("{source}: {problem}")),
                }
            } else if self.defaults.keys().any(|known| known.starts_with(&inside)) {
                self.merge_section(path, &key, value);
            } else {
                let nearest = self.nearest(&key).to_owned();
                self.errors.push(format!("{source}: there is no such setting; did you mean {nearest}?"));
            }
        }
    }

    pub(super) fn merge_env(&mut self, name: &str, text: &str) {
        let key = match name.strip_prefix(PREFIX).filter(|_| name != CONFIG_VARIABLE) {
            Some(rest) => rest.to_ascii_lowercase().replace("__", "."),
            None if name == RUNTIME_ARGUMENT => "gateway.runtime".to_owned(),
            None => return,
        };
        let Some(default) = self.defaults.get(&key) else {
            let nearest = variable(self.nearest(&key));
            self.errors.push(format!("{name}: there is no such setting; did you mean {nearest}?"));
            return;
        };
        match parsed(&key, default, text) {
            Ok(value) => self.set(&key, value, name.to_owned()),
            Err(problem) => self.errors.push(format!("{name}: {problem}")),
        }
    }

    fn set(&mut self, key: &str, value: Value, source: String) {
        let pointer = format!("/{}", key.replace('.', "/"));
        match self.merged.pointer_mut(&pointer) {
            Some(slot) => *slot = value,
            None => unreachable!("{key} is a key of the defaults"),
        }
        self.sources.insert(key.to_owned(), source);
    }

    fn nearest(&self, key: &str) -> &str {
        self.defaults.keys().min_by_key(|known| distance(known, key)).map_or("", String::as_str)
    }

    /// What the layers come to, and who set each key that isn't at its default.
    pub(super) fn finish(self) -> Result<(Raw, BTreeMap<String, String>), Vec<String>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        serde_json::from_value(self.merged).map(|raw| (raw, self.sources)).map_err(|error| vec![error.to_string()])
    }
}

fn flatten(value: &Value, key: &str, into: &mut BTreeMap<String, Value>) {
    let Value::Object(entries) = value else {
        into.insert(key.to_owned(), value.clone());
        return;
    };
    for (name, value) in entries {
        let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        flatten(value, &inner, into);
    }
}

/// The environment variable of `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn typed(key: &str, default: &Value, value: &Value) -> Result<(), String> {
    let (fits, expected) = match default {
        Value::Null if OPTIONAL_SWITCHES.contains(&key) => (value.is_null() || value.is_boolean(), "true or false"),
        Value::Null if OPTIONAL_NUMBERS.contains(&key) => {
            (value.is_null() || value.as_u64().is_some(), "a whole number")
        }
        Value::Null => (value.is_null() || value.is_string(), "text"),
        Value::String(_) => (value.is_string(), "text"),
        Value::Bool(_) => (value.is_boolean(), "true or false"),
        Value::Number(_) => (value.as_u64().is_some(), "a whole number"),
        Value::Array(_) | Value::Object(_) => unreachable!("a default is a leaf"),
    };
    if fits {
        return Ok(());
    }
    let hint = if expected == "text" && !value.is_object() && !value.is_array() { "; put it in quotes" } else { "" };
    Err(format!("expected {expected}, found {}{hint}", kind(value)))
}

/// The text of an environment variable, read as the type of its default: a password of digits stays
/// text. An empty variable leaves what is optional absent, as compose files write it.
fn parsed(key: &str, default: &Value, text: &str) -> Result<Value, String> {
    let switch = || match text {
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        _ => Err(format!("expected true or false, found {text:?}")),
    };
    let number =
        || text.parse::<u64>().map(Value::from).map_err(|_| format!("expected a whole number, found {text:?}"));
    match default {
        Value::Null if text.is_empty() => Ok(Value::Null),
        Value::Null if OPTIONAL_SWITCHES.contains(&key) => switch(),
        Value::Null if OPTIONAL_NUMBERS.contains(&key) => number(),
        Value::Null | Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Bool(_) => switch(),
        Value::Number(_) => number(),
        Value::Array(_) | Value::Object(_) => unreachable!("a default is a leaf"),
    }
}

/// Says what a value is without showing it: it may be a secret.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a section",
    }
}

/// Levenshtein distance over bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
