//! Jaeger, which collects the spans of distributed traces.

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    process::{Process, free_port, get, until},
    skipped, tools,
};

/// Its other servers. All have ports of their own, so that two Jaegers can run at once.
const OTHER_SERVERS: [&str; 8] = [
    "collector.otlp.grpc.host-port",
    "collector.grpc-server.host-port",
    "collector.http-server.host-port",
    "query.grpc-server.host-port",
    "processor.jaeger-binary.server-host-port",
    "processor.jaeger-compact.server-host-port",
    "processor.zipkin-compact.server-host-port",
    "http-server.host-port",
];

/// A Jaeger that keeps its spans in memory. Dropping it kills it.
#[derive(Debug)]
pub struct Jaeger {
    process: Process,
    _dir: TempDir,
    otlp_port: u16,
    query_port: u16,
}

/// A span as Jaeger returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedSpan {
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The id of its parent; empty for a root.
    pub parent: String,
    /// Whether it is marked as failed.
    pub is_error: bool,
}

impl Jaeger {
    /// Starts a Jaeger. `None`, reported as skipped, if it is not installed.
    ///
    /// # Panics
    /// If it is installed and does not start.
    pub fn start() -> Option<Self> {
        let program = std::env::var_os("JAEGER").map_or_else(|| tools().join("all-in-one"), Into::into);
        if !program.is_file() {
            skipped("jaeger", "there is no Jaeger; `bash deploy/services/services.sh install-tools` builds it");
            return None;
        }
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let (otlp_port, query_port, admin_port) = (free_port(), free_port(), free_port());
        let mut arguments = vec![
            "SPAN_STORAGE_TYPE=memory".to_owned(),
            program.display().to_string(),
            "--collector.otlp.enabled=true".to_owned(),
            "--memory.max-traces=10000".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--collector.otlp.http.host-port=127.0.0.1:{otlp_port}"),
            format!("--query.http-server.host-port=127.0.0.1:{query_port}"),
            format!("--admin.http.host-port=127.0.0.1:{admin_port}"),
        ];
        arguments.extend(OTHER_SERVERS.map(|server| format!("--{server}=127.0.0.1:{}", free_port())));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = dir.path().join("jaeger.log");
        let process = match Process::start("env", &arguments, &log) {
            Ok(process) => process,
            Err(error) => panic!("Jaeger does not start: {error}"),
        };
        let started = Self { process, _dir: dir, otlp_port, query_port };
        until("Jaeger is ready", || {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(started.process.is_running(), "Jaeger ended: {}", said());
            get(admin_port, "/").is_some()
        });
        Some(started)
    }

    /// Where it takes spans: OTLP over HTTP.
    pub const fn otlp_port(&self) -> u16 {
        self.otlp_port
    }

    /// The spans of the trace, in the order in which they began, once there are at least `count`.
    ///
    /// # Panics
    /// If there are not within a minute.
    pub fn trace(&self, trace_id: &str, count: usize) -> Vec<TracedSpan> {
        let mut spans = Vec::new();
        until(&format!("{count} spans of trace {trace_id}"), || {
            spans =
                get(self.query_port, &format!("/api/traces/{trace_id}")).map(|body| read(&body)).unwrap_or_default();
            spans.len() >= count
        });
        spans
    }
}

/// Reads the answer of the query API. What is no trace has no spans.
fn read(body: &str) -> Vec<TracedSpan> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let trace = &body["data"][0];
    let mut spans: Vec<&Value> = trace["spans"].as_array().into_iter().flatten().collect();
    spans.sort_by_key(|span| span["startTime"].as_u64());
    let span = |span: &&Value| {
        let tags: Vec<&Value> = span["tags"].as_array().into_iter().flatten().collect();
        TracedSpan {
            service: text(&trace["processes"][text(&span["processID"])]["serviceName"]),
            name: text(&span["operationName"]),
            id: text(&span["spanID"]),
            parent: text(&span["references"][0]["spanID"]),
            is_error: tags.iter().any(|tag| tag["key"] == "error" && tag["value"] == true),
        }
    };
    spans.iter().map(span).collect()
}
