//! Everything that a client can write into a request that the document describes, and should not.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::document::{document, operations, peer, resolved};

/// Texts that mean something else to code that forgets to quote, count or close.
const TEXTS: [&str; 26] = [
    "'; DROP TABLE orders; --",
    "' OR '1'='1",
    "\" OR \"\"=\"",
    "1; DELETE FROM users",
    "x' UNION SELECT password_hash FROM admins --",
    "price_cents DESC, (SELECT 1)",
    "admin'/*",
    "\\'; SELECT 1; #",
    "%' AND SLEEP(5) AND '%'='",
    "%_%",
    "旗舰 🚀 手机",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "𝒳𝒴𝒵",
    "e\u{301}\u{202e}gnp.exe",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "{{7*7}}${7*7}",
    "../../../../etc/passwd",
    "\u{feff}bom",
    "nul\u{0}nul",
    "line\r\nSet-Cookie: a=b",
    "\u{fffe}\u{ffff}\u{10ffff}",
    "NaN",
    "-1",
    " ",
    "",
];
/// JSON where a value is expected, as it is written.
const VALUES: [&str; 24] = [
    "0",
    "-1",
    "-0",
    "1.5",
    "1e3",
    "1e400",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999999",
    "\"1\"",
    "\"9223372036854775808\"",
    "\"07\"",
    "null",
    "true",
    "[1]",
    "[]",
    "{}",
    "{\"$ref\":\"#\"}",
    "NaN",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u0000\"",
];
const DEPTH: usize = 10_000;
const LONG: usize = 1 << 20;
/// Beyond what a server of the mall reads.
const HUGE: usize = 3 << 20;

/// Asks `router` with `token` for everything that its document describes, one value spoilt at a time, the others
/// as in `known` or as the document has them. Whatever it answers is not a fault; what it refuses is a problem; what
/// it takes comes back as it was sent. How many texts came back.
pub async fn is_borne(router: &Router, token: &str, known: &BTreeMap<&str, Value>) -> usize {
    let document = document(router).await;
    let mut intact = 0;
    for (method, path, operation) in operations(&document) {
        let site = Site { router, token, method: &method, path, known, document: &document };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
            for text in TEXTS.iter().map(|text| (*text).to_owned()).chain(["9".repeat(19), "a".repeat(LONG / 256)]) {
                site.ask(Some((parameter.0, parameter.1, &text)), &site.body(operation)).await;
            }
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        for body in site.spoilt(schema).into_iter().map(String::into_bytes).chain(bodies()) {
            intact += site.ask(None, &body).await;
        }
    }
    intact
}

/// Bodies that are no body of anything.
fn bodies() -> impl Iterator<Item = Vec<u8>> {
    let texts =
        ["", " ", "{", "{}", "[]", "null", "NaN", "\u{feff}{}", "{}{}", "{\"\":{}}", "\u{0}", "'{}'", "{\"a\":1,}"];
    let deep =
        [("[", "]"), ("{\"a\":", "}")].map(|(open, close)| format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH)));
    let more = [b"\xff\xfe{\x00}\x00".to_vec(), b"{\"a\":\"\xc3\x28\"}".to_vec(), vec![b' '; HUGE], vec![b'['; HUGE]];
    texts.map(|text| text.as_bytes().to_vec()).into_iter().chain(deep.map(String::into_bytes)).chain(more)
}

struct Site<'a> {
    router: &'a Router,
    token: &'a str,
    method: &'a str,
    path: &'a str,
    known: &'a BTreeMap<&'a str, Value>,
    document: &'a Value,
}

impl Site<'_> {
    fn body(&self, operation: &Value) -> Vec<u8> {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() { Vec::new() } else { self.plain("", schema).to_string().into_bytes() }
    }

    /// A value as the schema has it.
    fn plain(&self, name: &str, schema: &Value) -> Value {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let schema = resolved(self.document, schema);
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default();
        match kind {
            "object" => {
                let properties = schema["properties"].as_object();
                let required = schema["required"].as_array();
                let required = |name: &str| required.is_some_and(|names| names.iter().any(|needed| needed == name));
                let members = properties.into_iter().flatten().filter(|(name, _)| required(name));
                members.map(|(name, schema)| (name.clone(), self.plain(name, schema))).collect::<Map<_, _>>().into()
            }
            "array" => json!([self.plain("", &schema["items"])]),
            "integer" => schema["minimum"].as_i64().unwrap_or(1).max(1).into(),
            "boolean" => false.into(),
            "string" => {
                let length = schema["minLength"].as_u64().unwrap_or(1).max(1);
                "1".repeat(usize::try_from(length).unwrap()).into()
            }
            other => panic!("{name}: {other:?} in {schema}"),
        }
    }

    /// JSON in the place of `schema`, each with one value in it that is not as it should be.
    fn spoilt(&self, schema: &Value) -> Vec<String> {
        let schema = resolved(self.document, schema);
        let values = VALUES.iter().map(|value| (*value).to_owned());
        if let Some(properties) = schema["properties"].as_object() {
            let plain = self.plain("", schema);
            let plain = plain.as_object().unwrap();
            let with = |name: &str, value: &str| {
                let others = plain.iter().filter(|(other, _)| *other != name);
                let others = others.map(|(name, value)| format!(",{}:{value}", json!(name)));
                format!("{{{}:{value}{}}}", json!(name), others.collect::<String>())
            };
            let mut all = vec![with("unheard_of", "1"), with("__proto__", "{}"), with("'; --", "1")];
            for (name, schema) in properties {
                all.extend(self.spoilt(schema).iter().map(|value| with(name, value)));
                let value = plain.get(name).unwrap_or(&Value::Null);
                all.push(with(name, &format!("{value},{}:{value}", json!(name))));
            }
            return all;
        }
        if schema["items"].is_object() {
            let many = format!("[{}]", vec![self.plain("", &schema["items"]).to_string(); 10_000].join(","));
            let items = self.spoilt(&schema["items"]).into_iter().map(|item| format!("[{item}]"));
            return items.chain(values).chain([many]).collect();
        }
        let texts = TEXTS.iter().map(|text| json!(text).to_string()).chain([json!("长".repeat(LONG / 3)).to_string()]);
        if schema["additionalProperties"].is_object() {
            let members = texts.flat_map(|text| [format!("{{{text}:\"v\"}}"), format!("{{\"n\":{text}}}")]);
            return members.chain(values).collect();
        }
        texts.chain(values).collect()
    }

    /// The path with what is known for its parameters, by their names or by what is before them.
    fn uri(&self, spoilt: Option<(&str, &str, &str)>) -> String {
        let mut before = "";
        let parts = self.path.split('/').map(|part| {
            let kind = std::mem::replace(&mut before, part);
            let Some(name) = part.strip_prefix('{').map(|name| name.trim_end_matches('}')) else {
                return part.to_owned();
            };
            match spoilt {
                Some((spoilt, "path", text)) if spoilt == name => percent(text),
                _ => self
                    .known
                    .get(name)
                    .or_else(|| self.known.get(kind))
                    .map_or("1", |id| id.as_str().unwrap())
                    .to_owned(),
            }
        });
        let uri = parts.collect::<Vec<_>>().join("/");
        match spoilt {
            Some((name, "query", text)) => format!("{uri}?{name}={}", percent(text)),
            _ => uri,
        }
    }

    /// The `ETag` of what is at `uri`, where there is something.
    async fn version(&self, uri: &str) -> String {
        let request = Request::get(uri).header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        response.headers().get(header::ETAG).map_or("\"1\"", |tag| tag.to_str().unwrap()).to_owned()
    }

    /// Asks with one parameter spoilt, or none. How many texts of the body came back.
    async fn ask(&self, spoilt: Option<(&str, &str, &str)>, body: &[u8]) -> usize {
        let uri = self.uri(spoilt);
        let version = if self.method == "PATCH" { self.version(&uri).await } else { "\"1\"".to_owned() };
        let mut request =
            Request::builder().method(self.method).uri(&uri).extension(peer()).header(header::IF_MATCH, version);
        if let Some((name, "header", text)) = spoilt
            && let Ok(text) = header::HeaderValue::from_str(text)
        {
            request.headers_mut().unwrap().insert(header::HeaderName::try_from(name).unwrap(), text);
        }
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_vec())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).cloned();
        let answer = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        let what = || {
            format!(
                "{} {uri:.200} {:.200}: {}",
                self.method,
                String::from_utf8_lossy(body),
                String::from_utf8_lossy(&answer)
            )
        };
        assert!(!status.is_server_error(), "{status} {}", what());
        if status.is_client_error() {
            assert_eq!(kind.unwrap(), "application/problem+json", "{}", what());
            let problem: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(problem["status"], status.as_u16(), "{}", what());
            return 0;
        }
        let (sent, got) = (serde_json::from_slice::<Value>(body), serde_json::from_slice::<Value>(&answer));
        let (Ok(Value::Object(sent)), Ok(got)) = (sent, got) else { return 0 };
        let both = sent.iter().filter_map(|(name, sent)| Some((name, sent, got.get(name)?)));
        let both = both.filter(|(_, sent, _)| !sent.is_null());
        both.map(|(name, sent, got)| {
            assert_eq!(sent, got, "{name}: {}", what());
            usize::from(sent.as_str().is_some_and(|sent| TEXTS.contains(&sent)))
        })
        .sum()
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
