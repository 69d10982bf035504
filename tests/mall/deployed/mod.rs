//! The files that deploy the mall (containers, manifests, units, alerts, dashboard) compared with the program: every command, setting,
//! port, path, file and metric that they name. `deploy/check.sh` checks their form.

mod compose;
mod kubernetes;
mod observe;
mod program;
mod systemd;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use services::Redis;
use tempfile::TempDir;

use crate::process::Mall;

/// Settings as environment variables.
type Variables = BTreeMap<String, String>;

/// The files that are compared, some of them changed by a test.
struct Files {
    changed: BTreeMap<&'static str, String>,
}

impl Files {
    fn text(&self, path: &str) -> String {
        let read = || fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        self.changed.get(path).cloned().unwrap_or_else(read)
    }

    /// The documents of a YAML file.
    fn yaml(&self, path: &str) -> Vec<Value> {
        let text = self.text(path);
        let documents = text.split("\n---\n");
        documents.map(|one| serde_saphyr::from_str(one).unwrap_or_else(|error| panic!("{path}: {error}"))).collect()
    }

    /// The paths of the files in a directory, in order.
    fn list(directory: &str) -> Vec<String> {
        let entries = fs::read_dir(root().join(directory)).unwrap();
        let paths = entries.map(|entry| format!("{directory}/{}", entry.unwrap().file_name().to_str().unwrap()));
        let mut paths: Vec<String> = paths.collect();
        paths.sort();
        paths
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program, and what it was asked before.
struct Program {
    /// What `deploy/secrets.sh` makes.
    secrets: TempDir,
    asked: RefCell<BTreeMap<Vec<String>, Option<String>>>,
    /// The text of `/metrics` of malls of all kinds.
    metrics: String,
    mall: Mall,
}

impl Program {
    fn start(data: &Path) -> Option<Self> {
        let redis = Redis::start()?;
        let secrets = tempfile::tempdir().unwrap();
        let script = secrets.path().join("secrets.sh");
        fs::copy(root().join("deploy/secrets.sh"), &script).unwrap();
        assert!(Command::new("bash").arg(&script).status().unwrap().success());
        let (embedded, on_redis) = (data.join("embedded"), data.join("redis"));
        let mall = Mall::start(&embedded, &[]);
        let other = Mall::start(&on_redis, &[("MALL_REDIS__URL", &redis.url())]);
        // A route has a histogram once it was asked.
        let (status, _) = crate::get(&format!("{}/api/v1/categories", mall.order_core), None);
        assert_eq!(status, 200);
        let metrics = crate::operations::metrics(&mall.gateway) + &crate::operations::metrics(&other.gateway);
        Some(Self { secrets, asked: RefCell::default(), metrics, mall })
    }

    /// Runs the program with these arguments and variables; why it refuses them.
    fn refuses(&self, arguments: &[&str], variables: &Variables) -> Option<String> {
        let lines = variables.iter().map(|(name, value)| format!("{name}={value}"));
        let key = arguments.iter().map(|argument| (*argument).to_owned()).chain(lines).collect();
        let ask = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mall"));
            let output = command.env_clear().args(arguments).envs(variables).output().unwrap();
            (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
        };
        self.asked.borrow_mut().entry(key).or_insert_with(ask).clone()
    }

    /// Compares a process that is deployed with the program: its arguments, and its settings, where `secret_at` finds the
    /// name of the secret in the value of a variable.
    fn compare(
        &self,
        at: &str,
        (arguments, variables): (&[&str], &Variables),
        secret_at: impl Fn(&str) -> Option<String>,
        faults: &mut Vec<String>,
    ) {
        let help: Vec<&str> = arguments.iter().copied().chain(["--help"]).collect();
        faults.extend(self.refuses(&help, &Variables::new()).map(|why| format!("{at}: {arguments:?}: {why}")));
        let mut real = Variables::new();
        for (name, value) in variables {
            let value = match secret_at(value) {
                Some(secret) => self.secrets.path().join("secrets").join(secret).display().to_string(),
                None => value.clone(),
            };
            real.insert(name.clone(), value);
        }
        faults.extend(self.refuses(&["check-config"], &real).map(|why| format!("{at}: {why}")));
    }

    /// Names of the secrets that `deploy/secrets.sh` makes.
    fn secrets(&self) -> BTreeSet<String> {
        let files = fs::read_dir(self.secrets.path().join("secrets")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The port of `address:port`.
fn port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(_, port)| port)
}

/// The port of the setting `name`.
fn listens<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(|address| port(address))
}

/// The strings of a list.
fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The value as text, as the environment has it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn faults(files: &Files, program: &Program) -> Vec<String> {
    let mut faults = Vec::new();
    compose::compare(files, program, &mut faults);
    program::compare_dockerfile(files, program, &mut faults);
    kubernetes::compare(files, program, &mut faults);
    systemd::compare(files, program, &mut faults);
    observe::compare(files, program, &mut faults);
    faults
}

/// A file, a text in it, and what it becomes.
type Change = (&'static str, &'static str, &'static str);

/// Each breaks one file in one place.
const CHANGES: &[Change] = &[
    ("deploy/compose.yaml", "MALL_KAFKA__BROKERS: kafka", "MALL_KAFKA__BROKER: kafka"),
    ("deploy/compose.yaml", "MALL_SEARCH__URL: http://elasticsearch", "MALL_SEARCH__URL: http://elastic"),
    ("deploy/compose.yaml", "command: [order-core]", "command: [order_core]"),
    ("deploy/compose.yaml", "ready.sh, \"127.0.0.1:8081\"", "ready.sh, \"127.0.0.1:8080\""),
    ("deploy/compose.yaml", "./nginx/listen.conf", "./nginx/listens.conf"),
    (
        "deploy/compose.yaml",
        "admin_secret: { file: ./secrets/admin_secret }",
        "admin_secret: { file: ./secrets/admin }",
    ),
    ("deploy/compose.yaml", "subnet: 172.30.0.0/24", "subnet: 172.31.0.0/24"),
    ("deploy/compose.yaml", "--order-core=", "--ordercore="),
    ("deploy/compose.yaml", "stop_grace_period: 35s", "stop_grace_period: 10s"),
    ("deploy/nginx/upstreams.conf", "order-core:8081", "order-core:8082"),
    ("deploy/Dockerfile", "--package standalone", "--package mall"),
    ("deploy/Dockerfile", "MALL_LOG__FORMAT=json", "MALL_LOG__FORMAT=jsonl"),
    ("deploy/Dockerfile", "COPY deploy/ready.sh", "COPY deploy/readyz.sh"),
    ("deploy/kubernetes/base.yaml", "MALL_METRICS__LISTEN", "MALL_METRIC__LISTEN"),
    ("deploy/kubernetes/base.yaml", "/secrets/redis_url", "/secrets/redis"),
    ("deploy/kubernetes/gateway.yaml", "path: /readyz", "path: /ready"),
    ("deploy/kubernetes/gateway.yaml", "containerPort: 8080", "containerPort: 8081"),
    ("deploy/kubernetes/admin.yaml", "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 10"),
    ("deploy/kubernetes/ingress.yaml", "service: { name: gateway,", "service: { name: gateways,"),
    ("deploy/kubernetes/ingress.yaml", "path: /api/v1/time", "path: /api/v1/clock"),
    ("deploy/systemd/mall-admin.service", "bin/mall admin", "bin/mall administrator"),
    ("deploy/systemd/mall.service", "%d/admin_secret", "%d/admin"),
    ("deploy/prometheus/prometheus.yml", "admin:9464", "admin:9465"),
    ("deploy/prometheus/rules.yml", "mall_parked_sales", "mall_parked_sale"),
    ("deploy/prometheus/rules.yml", "class=\"5xx\"", "class=\"500\""),
    ("deploy/prometheus/rules.yml", "alert: MallOversold", "alert: MallSoldTooMuch"),
    ("deploy/grafana/mall.json", "mall_build_info", "mall_build"),
];

#[test]
fn what_is_deployed_is_what_the_program_has() {
    let data = tempfile::tempdir().unwrap();
    let Some(program) = Program::start(data.path()) else { return };
    let found = faults(&Files { changed: BTreeMap::new() }, &program);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    for (path, old, new) in CHANGES {
        let before = fs::read_to_string(root().join(path)).unwrap();
        let after = before.replacen(old, new, 1);
        assert_ne!(before, after, "{path} has no {old}");
        let files = Files { changed: BTreeMap::from([(*path, after)]) };
        assert!(!faults(&files, &program).is_empty(), "{path}: nobody noticed {new}");
    }
}
