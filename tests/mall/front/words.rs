//! The sentences of the shop's pages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::process::{Mall, get};

/// Words between backticks in the descriptions of refusals that are fields of a problem, or of a request.
const FIELDS: [&str; 14] = [
    "admin",
    "detail",
    "file",
    "left_cents",
    "left_quantity",
    "line_no",
    "methods",
    "order_status",
    "refund_id",
    "sku_ids",
    "stock",
    "total_cents",
    "trace_id",
    "version",
];
/// Refusals that no document lists: of nginx, and of a service with too many connections of one client.
const UNDOCUMENTED: [&str; 2] = ["no_answer", "too_many_connections"];

/// Adds the codes of problems: in descriptions of refusals between backticks, in examples as the field `code`.
fn collect(document: &Value, codes: &mut BTreeSet<String>) {
    let operations = document["paths"].as_object().unwrap().values().filter_map(Value::as_object).flatten();
    let listed = operations.filter_map(|(_, operation)| operation["responses"].as_object()).flatten();
    let refusals = listed.filter(|(status, _)| status.starts_with(['4', '5'])).map(|(_, response)| response);
    let shared = document["components"]["responses"].as_object().unwrap().values();
    for response in refusals.chain(shared) {
        let text = response["description"].as_str().unwrap_or_default();
        let words = text.split('`').skip(1).step_by(2).filter(|word| !FIELDS.contains(word));
        let is_code = |word: &&str| word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
        codes.extend(words.filter(is_code).map(str::to_owned));
    }
    collect_examples(document, codes);
}

/// Adds the codes of examples, wherever they are in a document.
fn collect_examples(value: &Value, codes: &mut BTreeSet<String>) {
    codes.extend(value["code"].as_str().map(str::to_owned));
    let inner: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    inner.into_iter().for_each(|value| collect_examples(value, codes));
}

/// The sentences by code, Chinese and English.
fn sentences() -> BTreeMap<String, (String, String)> {
    let mut sentences = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for line in include_str!("../../../nginx/shop/js/words.js").lines() {
        let Some((key, pair)) = line.trim().split_once(": [") else { continue };
        assert!(keys.insert(key.to_owned()), "{key} is there twice");
        let mut texts = pair.split('"').skip(1).step_by(2).map(str::to_owned);
        if let Some(code) = key.strip_prefix("p_") {
            sentences.insert(code.to_owned(), (texts.next().unwrap(), texts.next().unwrap()));
        }
    }
    sentences
}

#[test]
fn every_problem_has_a_sentence_in_both_languages() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let mut codes: BTreeSet<String> = UNDOCUMENTED.map(str::to_owned).into();
    let gateway: Value = serde_json::from_str(include_str!("../../../gateway/core/src/openapi.json")).unwrap();
    let served = [&mall.order_core, &mall.admin].map(|service| get(&format!("{service}/openapi.json"), None).1);
    for document in [gateway].iter().chain(&served) {
        let before = codes.len();
        collect(document, &mut codes);
        assert!(codes.len() > before + 3, "{} has codes: {codes:?}", document["info"]["title"]);
    }
    let sentences = sentences();
    let missing: Vec<_> = codes.iter().filter(|code| !sentences.contains_key(*code)).collect();
    assert!(missing.is_empty(), "no sentence for {missing:?}");
    for (code, (chinese, english)) in &sentences {
        assert!(
            chinese.ends_with('。') && chinese.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)),
            "{code}: {chinese}"
        );
        assert!(english.ends_with('.') && english.is_ascii() && english.contains(' '), "{code}: {english}");
        assert!(!english.contains('_') && !chinese.contains('_'), "{code} is shown raw");
    }
}
