//! `docs/settings.md` and `docs/settings.example.yaml`, made from the settings and their comments.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde_json::Value;

use super::{
    layers::{Kind, flatten, variable},
    raw::Raw,
    secret_files,
};

/// Set, the test writes the files instead of comparing them.
const UPDATE: &str = "UPDATE_DOCS";

struct Setting {
    key: String,
    default: Value,
    text: String,
}

/// Every setting by its key, those outside of sections first.
fn settings() -> Vec<Setting> {
    let schema = schemars::schema_for!(Raw).to_value();
    let mut defaults = BTreeMap::new();
    flatten(&serde_json::to_value(Raw::default()).unwrap(), "", &mut defaults);
    let setting = |(key, default): (String, Value)| Setting { text: description(&schema, &key), key, default };
    let (sections, top): (Vec<Setting>, Vec<Setting>) =
        defaults.into_iter().map(setting).partition(|setting| setting.key.contains('.'));
    top.into_iter().chain(sections).collect()
}

/// The comment of a key's field.
fn description(schema: &Value, key: &str) -> String {
    let field = key.split('.').fold(schema, |object, name| {
        let target = object["$ref"].as_str().map(|target| target.trim_start_matches('#'));
        let object = target.map_or(object, |target| schema.pointer(target).unwrap());
        &object["properties"][name]
    });
    let text = field["description"].as_str().unwrap_or_else(|| panic!("{key} needs a comment"));
    text.replace('\n', " ")
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => format!("`{default}`"),
    }
}

fn reference(settings: &[Setting]) -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Made from `platform/service/src/config/raw.rs`; a test compares them. `make docs` writes them again.\n\n\
         A setting's value is its default, then what a YAML file says (`mall --config FILE` or `MALL_CONFIG`), then its environment\n\
         variable. An unknown key, a wrong type or a value out of range ends the start with one line for each. `mall check-config`\n\
         tries the settings without a start. Times are milliseconds. [settings.example.yaml](settings.example.yaml) has every key.\n\n\
         A setting marked *secret* can be in a file: `MALL_REDIS__URL_FILE=/run/secrets/redis` in place of `MALL_REDIS__URL`.\n",
    );
    let mut section = None;
    for Setting { key, default, text } in settings {
        let of = key.rsplit_once('.').map_or("", |(section, _)| section);
        if section != Some(of) {
            let title = if of.is_empty() { "The mall".to_owned() } else { format!("`{of}`") };
            write!(page, "\n## {title}\n\n| key | type | default | |\n|---|---|---|---|\n").unwrap();
            section = Some(of);
        }
        let secret = if secret_files::KEYS.contains(&key.as_str()) { " *Secret.*" } else { "" };
        let kind = Kind::of(key, default).as_str();
        let cells = text.replace('|', "\\|");
        writeln!(page, "| `{key}`<br>`{}` | {kind} | {} | {cells}{secret} |", variable(key), shown(default)).unwrap();
    }
    page
}

fn example(settings: &[Setting]) -> String {
    let mut file = String::from(
        "# Every setting with its default, as a comment. Made from the code as settings.md is, which says what each is for.\n",
    );
    let mut section = "";
    for Setting { key, default, text } in settings {
        let (of, name) = key.rsplit_once('.').unwrap_or(("", key));
        if section != of {
            write!(file, "\n{of}:\n").unwrap();
            section = of;
        }
        let indent = if of.is_empty() { "" } else { "  " };
        writeln!(file, "{indent}# {text}").unwrap();
        writeln!(file, "{indent}# {name}: {default}").unwrap();
    }
    file
}

#[test]
fn the_documents_are_those_of_the_code() {
    let settings = settings();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, text) in [("settings.md", reference(&settings)), ("settings.example.yaml", example(&settings))] {
        let path = docs.join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "docs/{name} is not what the code says: run `make docs`");
    }
}

#[test]
fn the_example_is_valid_as_it_is_and_with_every_line_on() {
    let example = example(&settings());
    let plain = super::load(Some(("example", &example)), std::iter::empty()).unwrap();
    let defaults = super::load(None, std::iter::empty()).unwrap();
    assert_eq!(plain, defaults);
    let is_setting = |line: &str| {
        line.trim_start().strip_prefix("# ").is_some_and(|rest| {
            rest.split_once(": ")
                .is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        })
    };
    let on: String = example
        .lines()
        .map(|line| if is_setting(line) { line.replacen("# ", "", 1) } else { line.to_owned() } + "\n")
        .collect();
    assert_eq!(super::load(Some(("example", &on)), std::iter::empty()).unwrap(), defaults);
}
