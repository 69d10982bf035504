//! Examples for a document: every body and parameter gets one that is made from its schema.
//!
//! A schema's own example counts first, then the value that `examples.json` has for the member's name. So a new member
//! needs an example only if its name is new and its type does not suggest one; tests name the members that have none.

use serde_json::{Map, Value, json};

/// Adds an example to every JSON body, parameter and problem of `document` that has none.
pub(super) fn add(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let values: Value = serde_json::from_str(include_str!("examples.json")).unwrap_or_default();
    let maker = Maker { schemas, values };
    for content in contents(document) {
        maker.add_to_content(content);
    }
    for response in responses(document) {
        add_problem(response);
    }
    for parameter in parameters(document) {
        if parameter.get("example").is_none() {
            let name = parameter["name"].as_str().unwrap_or_default().to_lowercase();
            if let Some(value) = maker.example(&parameter["schema"], &name, &Within::Nothing) {
                parameter["example"] = value;
            }
        }
    }
}

fn members<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    value.get_mut(name).and_then(Value::as_object_mut).into_iter().flatten()
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    members(document, "paths").flat_map(|(_, item)| item.as_object_mut().into_iter().flatten()).map(|(_, one)| one)
}

fn parameters(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    operations(document).flat_map(|one| one.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten())
}

/// What requests and answers contain.
fn contents(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    operations(document).flat_map(|operation| {
        operation
            .as_object_mut()
            .into_iter()
            .flatten()
            .flat_map(|(name, member)| match name.as_str() {
                "requestBody" => vec![member],
                "responses" => member.as_object_mut().into_iter().flatten().map(|(_, one)| one).collect(),
                _ => Vec::new(),
            })
            .flat_map(|body| members(body, "content").filter(|(kind, _)| *kind == "application/json"))
            .map(|(_, content)| content)
    })
}

/// The answers of all operations with their statuses, and those that operations share.
fn responses(document: &mut Value) -> Vec<(String, &mut Value)> {
    let Some(document) = document.as_object_mut() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, part) in document {
        match name.as_str() {
            "paths" => {
                for (_, item) in part.as_object_mut().into_iter().flatten() {
                    for (_, operation) in item.as_object_mut().into_iter().flatten() {
                        all.extend(members(operation, "responses").map(|(status, one)| (status.clone(), one)));
                    }
                }
            }
            "components" => all.extend(members(part, "responses").map(|(name, one)| (shared_status(name), one))),
            _ => {}
        }
    }
    all
}

fn shared_status(name: &str) -> String {
    super::SHARED.iter().find(|(known, _, _)| *known == name).map_or("500", |(_, status, _)| status).to_owned()
}

/// A problem's description begins with its code and says after a colon what it means: that is the example's `detail`.
fn add_problem((status, response): (String, &mut Value)) {
    let description = response["description"].as_str().unwrap_or_default().to_owned();
    let Some(content) = response.pointer_mut("/content/application~1problem+json") else { return };
    let code = description.split('`').nth(1).unwrap_or("internal");
    let detail = description.split_once(": ").map_or(description.as_str(), |(_, detail)| detail);
    let number: u16 = status.parse().unwrap_or(500);
    let title = axum::http::StatusCode::from_u16(number).ok().and_then(|status| status.canonical_reason());
    content["example"] = json!({
        "type": "about:blank",
        "title": title.unwrap_or("Error"),
        "status": number,
        "detail": detail.trim_end_matches('.'),
        "code": code,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    });
}

/// The named schemas that an example is part of.
enum Within<'a> {
    Nothing,
    Schema(&'a str, &'a Self),
}

impl Within<'_> {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Schema(own, outer) => *own == name || outer.has(name),
        }
    }
}

struct Maker {
    schemas: Value,
    values: Value,
}

impl Maker {
    fn add_to_content(&self, content: &mut Value) {
        let has_own = content.get("example").is_some() || content.get("examples").is_some();
        if !has_own && let Some(value) = self.example(&content["schema"], "", &Within::Nothing) {
            content["example"] = value;
        }
    }

    /// A value that fits `schema`, of the member `name`; none if nothing suggests one, or if the schema is part of itself.
    fn example(&self, schema: &Value, name: &str, within: &Within<'_>) -> Option<Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let named = reference.rsplit('/').next().unwrap_or_default();
            let inner = Within::Schema(named, within);
            return if within.has(named) { None } else { self.example(&self.schemas[named], name, &inner) };
        }
        let own = schema.get("example").or_else(|| schema["examples"].get(0)).or_else(|| schema.get("const"));
        if let Some(own) = own.or_else(|| schema["enum"].get(0)) {
            return Some(own.clone());
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let parts = parts.iter().filter_map(|part| self.example(part, name, within));
            let whole: Map<String, Value> =
                parts.filter_map(|part| part.as_object().cloned()).flat_map(Map::into_iter).collect();
            return Some(whole.into());
        }
        if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            return choices.iter().filter(|one| one["type"] != "null").find_map(|one| self.example(one, name, within));
        }
        self.by_type(schema, name, within)
    }

    fn by_type(&self, schema: &Value, name: &str, within: &Within<'_>) -> Option<Value> {
        let is = |kind: &str| {
            schema["type"] == kind || schema["type"].as_array().is_some_and(|all| all.contains(&kind.into()))
        };
        if let Some(value) = self.values.get(name) {
            let fits = match value {
                Value::Null => is("null"),
                Value::Bool(_) => is("boolean"),
                Value::Number(_) => is("integer"),
                Value::String(_) => is("string") && schema["pattern"].as_str().and_then(alternative).is_none(),
                Value::Array(_) => is("array"),
                Value::Object(_) => is("object"),
            };
            if fits {
                return Some(value.clone());
            }
        }
        if is("object") {
            let members = schema["properties"].as_object().into_iter().flatten();
            let members = members.filter_map(|(name, part)| Some((name.clone(), self.example(part, name, within)?)));
            return Some(Value::Object(members.collect()));
        }
        if is("array") {
            // The children of a category are categories: the example's category has none.
            return Some(self.example(&schema["items"], name, within).into_iter().collect());
        }
        if is("boolean") {
            return Some(false.into());
        }
        if is("integer") {
            return Some(schema["minimum"].as_i64().map_or(1, |least| least.max(1)).into());
        }
        if is("null") {
            return Some(Value::Null);
        }
        schema["pattern"].as_str().and_then(alternative).map(Value::from)
    }
}

/// The first word of a pattern `^(one|two)$`.
fn alternative(pattern: &str) -> Option<&str> {
    let words = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let words = words.strip_prefix('(').and_then(|words| words.strip_suffix(')')).unwrap_or(words);
    words.bytes().all(|byte| byte.is_ascii_lowercase() || b"_|".contains(&byte)).then(|| words.split('|').next())?
}
