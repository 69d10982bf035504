//! What must be true of a service and of the document that it serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use serde_json::Value;
use tower::ServiceExt;

/// What the document itself is served by.
const OWN: [&str; 8] = [
    "/openapi.json",
    "/docs",
    "/docs/start.js",
    "/docs/swagger-ui.css",
    "/docs/swagger-ui-bundle.js",
    "/openapi/gateway.json",
    "/docs/gateway",
    "/docs/gateway.js",
];
/// How axum writes down where nothing is routed.
const FALLBACK: [&str; 2] = ["/", "/{*__private__axum_fallback}"];
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// An address that nobody has asked from: wrong sign-ins are counted by it.
pub(super) fn peer() -> ConnectInfo<SocketAddr> {
    static LAST: AtomicU32 = AtomicU32::new(0x0a00_0000);
    ConnectInfo((Ipv4Addr::from(LAST.fetch_add(1, Ordering::Relaxed)), 1).into())
}

pub async fn document(router: &Router) -> Value {
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 22).await.unwrap()).unwrap()
}

/// Every operation: its method, its path, what the document says of it.
pub fn operations(document: &Value) -> impl Iterator<Item = (String, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = METHODS.into_iter().filter(|method| item[method].is_object());
        methods.map(move |method| (method.to_uppercase(), path.as_str(), &item[method]))
    })
}

/// The path with `1` for each of its parameters.
pub fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "1".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

async fn status_of(router: &Router, method: &str, path: &str, token: Option<&str>) -> (StatusCode, Option<String>) {
    let mut request =
        Request::builder().method(method).uri(filled(path)).header(header::CONTENT_TYPE, "application/json");
    request = request.extension(peer());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap();
    let allow = response.headers().get(header::ALLOW).map(|allow| allow.to_str().unwrap().to_owned());
    (response.status(), allow)
}

/// What is routed is in the document, and the other way round: paths by what the router shows of itself,
/// methods by what it allows.
pub async fn has_every_route(router: &Router) {
    let document = document(router).await;
    let mut described = BTreeMap::<&str, BTreeSet<String>>::new();
    for (method, path, _) in operations(&document) {
        let methods = described.entry(path).or_default();
        methods.extend((method == "GET").then(|| "HEAD".to_owned()));
        methods.insert(method);
    }
    let shown = format!("{router:?}");
    let routed = shown.split('"').filter(|text| text.starts_with('/') && !FALLBACK.contains(text));
    let routed: BTreeSet<&str> = routed.filter(|path| !OWN.contains(path)).collect();
    assert_eq!(routed, described.keys().copied().collect());
    for (path, methods) in described {
        let (status, allow) = status_of(router, "TRACE", path, None).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed: BTreeSet<String> = allow.unwrap().split(',').map(|method| method.trim().to_owned()).collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

/// Where the document asks for a token there is no way in without it, with `foreign` tokens, or with one of `roles`
/// that the document does not name; elsewhere nobody asks for one.
pub async fn tells_who_may(router: &Router, foreign: &[String], roles: &[(&str, String)]) {
    for (method, path, operation) in operations(&document(router).await) {
        let ask = async |token| status_of(router, &method, path, token).await.0;
        let Some(required) = operation["security"][0].as_object() else {
            assert!(!matches!(ask(None).await.as_u16(), 401 | 403), "{method} {path}");
            continue;
        };
        for token in [None].into_iter().chain(foreign.iter().map(|token| Some(token.as_str()))) {
            assert_eq!(ask(token).await, StatusCode::UNAUTHORIZED, "{method} {path}");
        }
        let named: Vec<&str> =
            required.values().flat_map(|names| names.as_array().unwrap()).map(|name| name.as_str().unwrap()).collect();
        for (role, token) in roles {
            let may = named.is_empty() || named.contains(&"viewer") || named.contains(role) || *role == "admin";
            assert_eq!(ask(Some(token)).await != StatusCode::FORBIDDEN, may, "{role}: {method} {path}");
        }
    }
}

/// What operation ids begin with.
const VERBS: [&str; 45] = [
    "add", "approve", "audit", "begin", "block", "cancel", "change", "check", "clear", "compare", "confirm", "create",
    "delete", "drop", "end", "export", "get", "import", "list", "pause", "place", "receive", "refresh", "refuse",
    "register", "remove", "replace", "replay", "request", "reset", "resolve", "restock", "resume", "retry", "search",
    "set", "shelve", "ship", "show", "suggest", "unblock", "unshelve", "upload", "warm", "watch",
];

/// Every operation has an id of verb and noun, a summary, `security` and examples, and every refusal is a problem.
pub async fn is_whole(router: &Router) {
    let document = document(router).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["license"]["identifier"], "Apache-2.0");
    assert!(document["servers"][0]["url"].is_string());
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} twice");
        let (verb, noun) = name.split_once('_').unwrap_or((name, ""));
        assert!(VERBS.contains(&verb) && !noun.is_empty(), "{method} {path}: {name} is not a verb and a noun");
        assert!(operation["security"].is_array(), "{method} {path} has no `security`");
        has_examples(&document, operation, &format!("{method} {path}"));
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with(['.', '?'])), "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
            let kinds: Vec<&str> =
                response["content"].as_object().into_iter().flatten().map(|(kind, _)| kind.as_str()).collect();
            let fits = match status.as_bytes() {
                [b'2', ..] => true,
                [b'3', ..] => kinds.is_empty(),
                _ => kinds == ["application/problem+json"],
            };
            assert!(fits, "{method} {path} {status} {kinds:?}");
        }
    }
}

/// Every JSON body, in and out, has an example in which no required member is missing, and so has every parameter.
fn has_examples(document: &Value, operation: &Value, name: &str) {
    let answers = operation["responses"].as_object().unwrap().values();
    for body in [&operation["requestBody"]].into_iter().chain(answers) {
        let contents = resolved(document, body)["content"].as_object().into_iter().flatten();
        for (_, content) in contents.filter(|(kind, _)| kind.ends_with("json")) {
            fits(document, &content["schema"], &content["example"], name);
        }
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = resolved(document, parameter);
        assert!(!parameter["example"].is_null(), "{name}: {} has no example", parameter["name"]);
    }
}

fn fits(document: &Value, schema: &Value, example: &Value, name: &str) {
    let schema = resolved(document, schema);
    let parts = schema["allOf"].as_array().into_iter().flatten();
    parts.for_each(|part| fits(document, part, example, name));
    for (member, part) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{name}: {member}");
        match example.get(member) {
            Some(value) => fits(document, part, value, &name),
            None => assert!(
                !schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == member.as_str())),
                "{name} has no example: add one to platform/service/src/web/openapi/examples.json"
            ),
        }
    }
    if let Some(items) = example.as_array() {
        items.iter().for_each(|item| fits(document, &schema["items"], item, name));
    }
    assert!(!example.is_null() || is_nullable(schema), "{name} has no example");
}

fn is_nullable(schema: &Value) -> bool {
    let kinds = schema["type"].as_array().into_iter().flatten();
    kinds.chain([&schema["type"]]).any(|kind| kind == "null")
        || schema["oneOf"].as_array().is_some_and(|all| all.iter().any(is_nullable))
}

/// What a reference names, or the value itself.
pub fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// An operation that clients rely on: its method and path, members of its body, and members of its answer.
pub type Published = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// The document has every published operation, with the published members.
pub async fn publishes(router: &Router, published: &[Published]) {
    let document = document(router).await;
    for (method, path, asked, answered) in published {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not in the document");
        let has = |schema: &Value, members: &[&str], what: &str| {
            let schema = resolved(&document, schema);
            let parts = schema["allOf"].as_array().into_iter().flatten().map(|part| resolved(&document, part));
            let parts: Vec<&Value> = parts.chain([schema]).collect();
            for member in members {
                let is_there = parts.iter().any(|part| part["properties"][member].is_object());
                assert!(is_there, "{method} {path}: {what} lacks {member}: {schema}");
            }
        };
        let json = |part: &Value| part["content"]["application/json"]["schema"].clone();
        has(&json(&operation["requestBody"]), asked, "the body");
        let responses = operation["responses"].as_object().unwrap();
        let good = responses.iter().find(|(status, _)| status.starts_with('2'));
        let (_, good) = good.unwrap_or_else(|| panic!("{method} {path} has no answer"));
        has(&json(good), answered, "the answer");
    }
}
