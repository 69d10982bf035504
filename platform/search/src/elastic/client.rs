//! HTTP to the cluster: one request at a time, no retries except where the caller says so.

use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use ureq::{
    Agent,
    http::Request,
    tls::{Certificate, PemItem, RootCerts, TlsConfig},
};

use super::settings::ElasticSettings;
use crate::index::IndexError;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Bytes of an error of the server that are passed on.
const REASON_CHARS_MAX: usize = 300;
/// After a failure nothing is asked for so long, and twice as long after each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    settings: ElasticSettings,
    authorization: Option<String>,
    pause: Mutex<Pause>,
}

/// Since when searches are not even tried.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    failures: u32,
}

/// An answer: its status and its JSON.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// Why the server refused, in its words.
    pub(super) fn reason(&self) -> String {
        let error = &self.body["error"];
        let reason =
            error["root_cause"][0]["reason"].as_str().or_else(|| error["reason"].as_str()).or_else(|| error.as_str());
        let reason: String = reason.unwrap_or("no reason given").chars().take(REASON_CHARS_MAX).collect();
        format!("status {}: {reason}", self.status)
    }

    pub(super) fn error(&self) -> IndexError {
        IndexError::Unavailable(self.reason())
    }
}

impl Client {
    pub(super) fn new(settings: ElasticSettings) -> Result<Self, IndexError> {
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        if let Some(pem) = &settings.certificates {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(pem)?)));
        }
        let config = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(CONNECT_MAX));
        let agent = config.max_redirects(0).tls_config(tls.build()).build().new_agent();
        let basic =
            |(user, password): &(String, String)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let authorization = settings.user.as_ref().map(basic);
        Ok(Self { agent, settings, authorization, pause: Mutex::default() })
    }

    /// The name of the index.
    pub(super) fn alias(&self) -> &str {
        &self.settings.index
    }

    /// A search: fails at once where the server failed a moment ago.
    pub(super) fn search(&self, path: &str, body: &Value) -> Result<Answer, IndexError> {
        let paused = || self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        if paused().until.is_some_and(|until| Instant::now() < until) {
            return Err(IndexError::Unavailable("the server failed a moment ago".to_owned()));
        }
        let answer = self.send("POST", path, "application/json", body.to_string(), self.settings.search_timeout);
        let is_failure = answer.as_ref().map_or(true, |answer| answer.status >= 500 || answer.status == 429);
        let mut pause = paused();
        if is_failure {
            let longer = PAUSE_MIN * 2_u32.pow(pause.failures.min(10));
            *pause = Pause { until: Some(Instant::now() + longer.min(PAUSE_MAX)), failures: pause.failures + 1 };
        } else {
            *pause = Pause::default();
        }
        answer
    }

    /// Anything but a search, with or without a body.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, IndexError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, "application/json", body, self.settings.write_timeout)
    }

    /// Lines of JSON for `_bulk`.
    pub(super) fn bulk(&self, path: &str, lines: String) -> Result<Answer, IndexError> {
        self.send("POST", path, "application/x-ndjson", lines, self.settings.write_timeout)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: String,
        timeout: Duration,
    ) -> Result<Answer, IndexError> {
        let failed = |error: String| IndexError::Unavailable(error);
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.settings.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        if !body.is_empty() {
            request = request.header("Content-Type", kind);
        }
        let request = request.body(body).map_err(|error| failed(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(timeout)).build();
        let answer = self.agent.run(request).map_err(|error| failed(error.to_string()))?;
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        let mut reader = answer.into_body().into_reader().take(ANSWER_BYTES_MAX);
        reader.read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
        // A proxy that refuses answers with HTML.
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if body.is_null() && status < 400 {
            return Err(failed(format!("status {status}, and the answer is no JSON")));
        }
        Ok(Answer { status, body })
    }
}

fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>, IndexError> {
    let invalid = || IndexError::Unavailable("the certificates of the search server are no PEM".to_owned());
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| invalid())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(invalid()) } else { Ok(certificates) }
}
