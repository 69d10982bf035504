//! The OpenAPI document compared with the core: each documented request is sent, and each answer is documented.

use std::sync::{Arc, LazyLock};

use contract::{ActivityId, activity::Door};
use gateway_core::{Answer as Code, Captcha, Control, OPENAPI, Rate};
use serde_json::Value;

use crate::world::{Answer, RULES, World, activity, buy, token};

/// An operation of the document.
struct Operation {
    path: String,
    method: String,
    value: Value,
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(OPENAPI).unwrap());

fn document() -> &'static Value {
    &DOCUMENT
}

fn operations() -> Vec<Operation> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(|(method, value)| {
            let (path, method, value) = (path.clone(), method.to_uppercase(), value.clone());
            Operation { path, method, value }
        })
    });
    all.collect()
}

/// Follows a `$ref`.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(pointer) => document.pointer(pointer.trim_start_matches('#')).unwrap_or_else(|| panic!("{pointer}")),
        None => value,
    }
}

impl Operation {
    fn id(&self) -> &str {
        self.value["operationId"].as_str().unwrap()
    }

    fn needs_token(&self) -> bool {
        !self.value["security"].as_array().unwrap().is_empty()
    }

    fn is_limited(&self) -> bool {
        !self.value["responses"]["429"].is_null()
    }

    /// The request of the document's examples. `order` replaces the example of an order's id.
    fn request(&self, order: &str, token: Option<String>, optional: bool) -> String {
        let document = document();
        let (mut path, mut query, mut headers) = (self.path.clone(), Vec::new(), String::new());
        for parameter in self.value["parameters"].as_array().into_iter().flatten() {
            let parameter = resolve(document, parameter);
            let name = parameter["name"].as_str().unwrap();
            let example = parameter["example"].as_str().map_or_else(|| parameter["example"].to_string(), str::to_owned);
            match parameter["in"].as_str().unwrap() {
                "path" if name == "order_id" => path = path.replace("{order_id}", order),
                "path" => path = path.replace(&format!("{{{name}}}"), &example),
                "query" if optional => query.push(format!("{name}={example}")),
                "header" if optional => headers += &format!("{name}: {example}\r\n"),
                "query" | "header" => {}
                other => panic!("a parameter in {other}"),
            }
        }
        if let Some(token) = token.filter(|_| self.needs_token()) {
            headers += &format!("Authorization: Bearer {token}\r\n");
        }
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let example = self.value.pointer("/requestBody/content/application~1json/example");
        let body = example.map(Value::to_string).unwrap_or_default();
        if self.method == "POST" {
            headers += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        format!("{} {path}{query} HTTP/1.1\r\nHost: mall\r\n{headers}\r\n{body}", self.method)
    }

    /// Fails unless the document has this answer, headers and body included.
    fn must_have(&self, answer: &Answer) {
        let document = document();
        let name = format!("{} answered {}: {}", self.id(), answer.status, answer.body);
        let response = &self.value["responses"][answer.status.to_string()];
        assert!(!response.is_null(), "{name}");
        let response = resolve(document, response);
        let kind = answer.header("content-type").split(';').next().unwrap();
        if response["content"].is_null() {
            assert_eq!(answer.body, "", "{name}");
            return;
        }
        let content = &response["content"][kind];
        assert!(!content.is_null(), "{name} as {kind}");
        for (header, spec) in response["headers"].as_object().into_iter().flatten() {
            let is_required = resolve(document, spec)["required"] == true;
            assert!(!is_required || !answer.header(&header.to_lowercase()).is_empty(), "{name} without {header}");
        }
        if kind.ends_with("json") {
            check(document, &content["schema"], &answer.json(), &name);
        }
        if kind == "application/problem+json" {
            let code = answer.code();
            let example = &content["examples"][&code]["value"];
            assert_eq!(example["code"], code, "{name}: the code has no example");
            assert_eq!(example["title"], answer.json()["title"], "{name}");
        }
    }
}

/// As much of JSON Schema as the document uses.
fn check(document: &Value, schema: &Value, value: &Value, name: &str) {
    let schema = resolve(document, schema);
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{name}: a type {other}"),
    };
    assert!(kinds.iter().any(is), "{name}: {value} is not {kinds:?}");
    let allowed = schema["enum"].as_array();
    assert!(allowed.is_none_or(|allowed| allowed.contains(value)), "{name}: {value} is not in {allowed:?}");
    assert!(schema["const"].is_null() || schema["const"] == *value, "{name}: {value}");
    for item in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], item, name);
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{name}: {required} is missing in {value}");
    }
    for (member, value) in value.as_object().into_iter().flatten() {
        let schema = &schema["properties"][member];
        assert!(!schema.is_null(), "{name}: {member} is not in the document");
        check(document, schema, value, name);
    }
}

/// A world that has the activity of the examples. The sale asks for a challenge if `operation` is about challenges.
fn world(operation: &Operation, configure: impl FnOnce(&mut gateway_core::Config)) -> World {
    let mut world = World::with(10, RULES, |config| {
        config.shop_url = "http://shop.example/".to_owned();
        configure(config);
    });
    let document = document();
    let id = document["components"]["parameters"]["activity_id"]["example"].as_str().unwrap();
    let id: ActivityId = id.parse().unwrap();
    let mut sold = activity(id.as_i64(), RULES);
    if operation.id() == "get_challenge" {
        sold.admission.door = Door::Captcha;
    }
    world.control(Control::Activity(sold));
    if world.core.poll_captchas(world.now).is_some() {
        let captcha = Captcha { image: Arc::from(*b"image"), answer: "KATZE".to_owned() };
        world.control(Control::Captchas(vec![captcha]));
    }
    world
}

fn send(world: &mut World, request: &str) -> Answer {
    let id = world.open();
    world.send(id, request);
    world.settle();
    let (bytes, next) = world.receive_all(id);
    world.core.close(id);
    Answer::read(&bytes, next)
}

#[test]
fn each_documented_request_gets_its_documented_answer() {
    for operation in operations() {
        for optional in [false, true] {
            let mut world = world(&operation, |_| {});
            let order = world.ask(buy(1, "first")).order().to_string();
            let request = operation.request(&order, Some(token(1)), optional);
            let answer = send(&mut world, &request);
            operation.must_have(&answer);
            let expected = operation.value["responses"].as_object().unwrap().keys().next().unwrap();
            assert_eq!(answer.status.to_string(), *expected, "{request}: {}", answer.body);
        }
    }
}

#[test]
fn each_refusal_is_documented() {
    for operation in operations() {
        let token = || Some(token(1));
        let mut cold = World::cold(0, RULES, |_| {});
        operation.must_have(&send(&mut cold, &operation.request("1", token(), true)));
        let mut open = world(&operation, |_| {});
        let answer = send(&mut open, &operation.request("1", None, false));
        operation.must_have(&answer);
        assert_eq!(answer.status == 401, operation.needs_token(), "{}", operation.id());
        operation.must_have(&send(&mut open, &operation.request("1", token(), false)));
        let mut limited = world(&operation, |config| config.gate.client = Rate { per_second: 1, burst: 1 });
        let request = operation.request("1", token(), false);
        send(&mut limited, &request);
        let answer = send(&mut limited, &request);
        operation.must_have(&answer);
        assert_eq!(answer.status == 429, operation.is_limited(), "{}", operation.id());
        for spoilt in [
            request.replace("Host: mall\r\n", ""),
            request.replace("HTTP/1.1", "HTTP/2.0"),
            request.replace("Host: mall\r\n", &format!("Host: mall\r\nLong: {}\r\n", "x".repeat(20_000))),
            request.replace("Host: mall\r\n", "Host: mall\r\nExpect: much\r\n"),
            request.replace(" /", &format!(" /{}", "x".repeat(20_000))),
            request.replace("Content-Length:", "No-Length:"),
            request.replace("application/json", "text/plain"),
        ] {
            operation.must_have(&send(&mut open, &spoilt));
        }
    }
}

#[test]
fn methods_are_the_documented_ones() {
    for operation in operations() {
        let mut world = world(&operation, |_| {});
        let path = operation.path.replace("{activity_id}", "1").replace("{order_id}", "1");
        let answer = world.ask(format!("OPTIONS {path} HTTP/1.1\r\nHost: mall\r\n\r\n"));
        let allowed = if operation.method == "GET" { "GET, HEAD, OPTIONS" } else { "POST, OPTIONS" };
        assert_eq!((answer.status, answer.header("allow")), (204, allowed), "{path}");
    }
}

#[test]
fn the_document_is_complete() {
    let document = document();
    let codes: Vec<&str> = Code::ALL
        .iter()
        .filter(|answer| answer.status() >= 400 && **answer != Code::NotReady)
        .map(|answer| answer.as_str())
        .collect();
    assert_eq!(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"], serde_json::json!(codes));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["info"]["license"]["identifier"], "Apache-2.0");
    assert!(!document["servers"].as_array().unwrap().is_empty());
    let mut ids: Vec<String> = operations().iter().map(|operation| operation.id().to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), operations().len(), "{ids:?}");
    for operation in operations() {
        let words = operation.id().split('_').count();
        assert!(words >= 2, "{}: a verb and a noun", operation.id());
        for (status, response) in operation.value["responses"].as_object().unwrap() {
            let content = resolve(document, response)["content"].as_object();
            for (kind, content) in content.into_iter().flatten().filter(|(kind, _)| kind.ends_with("json")) {
                let name = format!("the example of {} {status}", operation.id());
                let examples = content["examples"].as_object().into_iter().flatten().map(|(_, one)| &one["value"]);
                let examples: Vec<&Value> = content.get("example").into_iter().chain(examples).collect();
                assert!(!examples.is_empty(), "{name}: there is none");
                for example in examples {
                    check(document, &content["schema"], example, &name);
                    let is_problem = kind == "application/problem+json";
                    assert!(
                        !is_problem || status.parse() == Ok(example["status"].as_u64().unwrap()),
                        "{name}: {example}"
                    );
                }
            }
        }
    }
}
