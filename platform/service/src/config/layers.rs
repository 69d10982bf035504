//! Defaults, then the file, then the environment: which value each key ends with, and who set it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ShownSetting, raw::Raw, secret_files};

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

/// Keys that had another name, which still works: the old name, then the present one.
const OLD_NAMES: [(&str, &str); 1] = [("payments.public_url", "public_url")];

pub(super) struct Layers {
    defaults: BTreeMap<String, Value>,
    merged: Value,
    sources: BTreeMap<String, String>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// What the layers come to.
pub(super) struct Merged {
    pub(super) raw: Raw,
    /// Who set each key that isn't at its default.
    pub(super) sources: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

impl Layers {
    pub(super) fn new() -> Result<Self, serde_json::Error> {
        let merged = serde_json::to_value(Raw::default())?;
        let mut defaults = BTreeMap::new();
        flatten(&merged, "", &mut defaults);
        Ok(Self { defaults, merged, sources: BTreeMap::new(), errors: Vec::new(), warnings: Vec::new() })
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
            let key = self.present_name(key, &source);
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
        let key = self.present_name(key, name);
        let Some(default) = self.defaults.get(&key) else {
            if is_service_link(name) {
                return;
            }
            let nearest = variable(self.nearest(&key));
            self.errors.push(format!("{name}: there is no such setting; did you mean {nearest}?"));
            return;
        };
        match parsed(&key, default, text) {
            Ok(value) => self.set(&key, value, name.to_owned()),
            Err(problem) => self.errors.push(format!("{name}: {problem}")),
        }
    }

    /// The present name of `key`; an old name is noted as a warning.
    fn present_name(&mut self, key: String, source: &str) -> String {
        let Some((_, present)) = OLD_NAMES.iter().find(|(old, _)| *old == key) else { return key };
        self.warnings.push(format!("{source}: this setting is called {present} now; the old name still works"));
        (*present).to_owned()
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

    /// Every setting without its secrets, and who has set it.
    pub(super) fn shown(&self) -> Vec<ShownSetting> {
        let mut values = BTreeMap::new();
        flatten(&self.merged, "", &mut values);
        let shown = |(key, value): (String, Value)| {
            let is_secret = secret_files::KEYS.contains(&key.as_str());
            let text = match value {
                Value::Null => None,
                _ if is_secret => Some(String::new()),
                Value::String(text) => Some(text),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
            };
            ShownSetting { source: self.sources.get(&key).cloned(), key, value: text, is_secret }
        };
        values.into_iter().map(shown).collect()
    }

    /// What the layers come to.
    pub(super) fn finish(self) -> Result<Merged, Vec<String>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let (sources, warnings) = (self.sources, self.warnings);
        let merged = |raw| Merged { raw, sources, warnings };
        serde_json::from_value(self.merged).map(merged).map_err(|error| vec![error.to_string()])
    }
}

pub(super) fn flatten(value: &Value, key: &str, into: &mut BTreeMap<String, Value>) {
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

/// What the values of a key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Switch,
    Number,
}

impl Kind {
    pub(super) fn of(key: &str, default: &Value) -> Self {
        match default {
            Value::Null if OPTIONAL_SWITCHES.contains(&key) => Self::Switch,
            Value::Null if OPTIONAL_NUMBERS.contains(&key) => Self::Number,
            Value::Null | Value::String(_) => Self::Text,
            Value::Bool(_) => Self::Switch,
            Value::Number(_) => Self::Number,
            Value::Array(_) | Value::Object(_) => unreachable!("a default is a leaf"),
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Switch => "true or false",
            Self::Number => "a whole number",
        }
    }
}

fn typed(key: &str, default: &Value, value: &Value) -> Result<(), String> {
    let expected = Kind::of(key, default);
    let fits = match expected {
        Kind::Text => value.is_string(),
        Kind::Switch => value.is_boolean(),
        Kind::Number => value.as_u64().is_some(),
    };
    if fits || default.is_null() && value.is_null() {
        return Ok(());
    }
    let quotes = expected == Kind::Text && !value.is_object() && !value.is_array();
    let hint = if quotes { "; put it in quotes" } else { "" };
    Err(format!("expected {}, found {}{hint}", expected.as_str(), kind(value)))
}

/// The text of an environment variable, read as the type of its default: a password of digits stays
/// text. An empty variable leaves what is optional absent, as compose files write it.
fn parsed(key: &str, default: &Value, text: &str) -> Result<Value, String> {
    if default.is_null() && text.is_empty() {
        return Ok(Value::Null);
    }
    let expected = Kind::of(key, default);
    let value = match (expected, text) {
        (Kind::Text, text) => Some(Value::String(text.to_owned())),
        (Kind::Switch, "true") => Some(Value::Bool(true)),
        (Kind::Switch, "false") => Some(Value::Bool(false)),
        (Kind::Switch, _) => None,
        (Kind::Number, text) => text.parse::<u64>().ok().map(Value::from),
    };
    value.ok_or_else(|| format!("expected {}, found {text:?}", expected.as_str()))
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

/// Whether Kubernetes may have injected the variable, for a Service whose name begins with `mall`: `MALL_SERVICE_HOST`,
/// `MALL_GATEWAY_SERVICE_PORT_HTTP`, `MALL_PORT`, `MALL_PORT_8080_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let is_port = |(_, rest): (&str, &str)| rest.starts_with(|first: char| first.is_ascii_digit());
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.ends_with("_PORT")
            || name.contains("_SERVICE_PORT_")
            || name.split_once("_PORT_").is_some_and(is_port))
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
