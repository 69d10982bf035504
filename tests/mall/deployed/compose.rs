//! `deploy/compose.yaml` and the files that its containers are given.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Files, Program, Variables, listens, port, program::image_variables, root, strings, text};

const FILE: &str = "deploy/compose.yaml";
const SECRETS: &str = "/run/secrets/";
/// Beyond `shutdown.drain_ms`: how long running requests may take at the gateway, and then at order-core and admin.
pub(super) const FINISH_S: u64 = 20;

/// The variables of a service of the mall, those of its image included.
fn variables(files: &Files, service: &Value) -> Variables {
    let mut all = image_variables(files);
    let own = service["environment"].as_object().into_iter().flatten();
    all.extend(own.map(|(name, value)| (name.clone(), text(value))));
    all
}

fn is_ours(service: &Value) -> bool {
    service["image"].as_str().is_some_and(|image| image.starts_with("mall:"))
}

/// The role of a service: the first word of its command.
fn role(service: &Value) -> &str {
    strings(&service["command"]).first().copied().unwrap_or_default()
}

/// The port on which a service of that name answers requests.
fn http_port(variables: &Variables, role: &str) -> Option<String> {
    let key = match role {
        "run" | "gateway" => "MALL_GATEWAY__LISTEN",
        "order-core" => "MALL_ORDER_CORE__LISTEN",
        "admin" => "MALL_ADMIN__LISTEN",
        _ => return None,
    };
    listens(variables, key).map(str::to_owned)
}

pub(super) fn compare(files: &Files, program: &Program, faults: &mut Vec<String>) {
    let document = files.yaml(FILE).remove(0);
    let services = document["services"].as_object().unwrap();
    let names: BTreeSet<&str> = services.keys().map(String::as_str).collect();
    for (name, service) in services {
        let at = format!("{FILE}: {name}");
        for file in mounted(service).filter(|file| !root().join("deploy").join(file).exists()) {
            faults.push(format!("{at}: there is no {file}"));
        }
        for secret in strings(&service["secrets"]) {
            let file = document["secrets"][secret]["file"].as_str().unwrap_or_default();
            if !file.strip_prefix("./secrets/").is_some_and(|file| program.secrets().contains(file)) {
                faults.push(format!("{at}: deploy/secrets.sh makes no {file} for {secret}"));
            }
        }
        if is_ours(service) {
            compare_ours(&at, service, (&names, &document), (files, program), faults);
        }
    }
    for flag in strings(&services["bench"]["command"]).iter().filter_map(|argument| argument.strip_prefix("--")) {
        let flag = flag.split('=').next().unwrap_or_default();
        let source = files.text("bench/src/sale/args.rs") + &files.text("bench/src/options.rs");
        let field = format!("{}: ", flag.replace('-', "_"));
        if !source.contains(&format!("long = \"{flag}\"")) && !source.contains(&format!("pub {field}")) {
            faults.push(format!("{FILE}: bench has no --{flag}"));
        }
    }
    compare_front(files, services, faults);
    compare_targets(files, services, faults);
}

/// Files and directories of the repository that a container is given, from `deploy`.
fn mounted(service: &Value) -> impl Iterator<Item = &str> {
    let sources = strings(&service["volumes"]).into_iter().filter_map(|volume| volume.split(':').next());
    sources.filter(|source| source.starts_with('.'))
}

fn compare_ours(
    at: &str,
    service: &Value,
    (names, document): (&BTreeSet<&str>, &Value),
    (files, program): (&Files, &Program),
    faults: &mut Vec<String>,
) {
    let variables = variables(files, service);
    let given = strings(&service["secrets"]);
    let secret = |value: &str| value.strip_prefix(SECRETS).map(str::to_owned);
    for missing in variables.values().filter_map(|value| secret(value)).filter(|name| !given.contains(&name.as_str())) {
        faults.push(format!("{at}: it is not given the secret {missing}"));
    }
    program.compare(at, (&strings(&service["command"]), &variables), secret, faults);
    for address in ["MALL_KAFKA__BROKERS", "MALL_SEARCH__URL"].iter().filter_map(|name| variables.get(*name)) {
        let host = address.trim_start_matches("http://").split(':').next().unwrap_or_default();
        if !names.contains(host) {
            faults.push(format!("{at}: there is no service {host}"));
        }
    }
    let subnet = &document["networks"]["default"]["ipam"]["config"][0]["subnet"];
    if variables.get("MALL_TRUSTED_PROXIES").is_some_and(|trusted| *subnet != trusted.as_str()) {
        faults.push(format!("{at}: it trusts another network than {subnet}"));
    }
    let Some(http) = http_port(&variables, role(service)) else { return };
    let health = strings(&service["healthcheck"]["test"]);
    if health != ["CMD", "ready.sh", &format!("127.0.0.1:{http}")] {
        faults.push(format!("{at}: it listens on {http}, and {health:?} looks elsewhere"));
    }
    for published in strings(&service["ports"]) {
        let is_listened =
            variables.iter().any(|(name, value)| name.ends_with("__LISTEN") && port(value) == port(published));
        if !is_listened {
            faults.push(format!("{at}: nothing listens on the port of {published}"));
        }
    }
    let drain_ms: u64 = variables.get("MALL_SHUTDOWN__DRAIN_MS").map_or(0, |ms| ms.parse().unwrap_or(u64::MAX));
    let grace = service["stop_grace_period"].as_str().and_then(|grace| grace.strip_suffix('s')?.parse::<u64>().ok());
    if grace.is_none_or(|grace| grace * 1_000 < drain_ms.saturating_add(FINISH_S * 1_000)) {
        faults.push(format!("{at}: it is killed before it has finished"));
    }
    let data = variables.get("MALL_DATA_DIR").map_or("", String::as_str);
    let keeps = strings(&service["volumes"]).iter().any(|volume| volume.ends_with(&format!(":{data}")));
    if !keeps && ["run", "gateway", "order-core", "admin"].contains(&role(service)) {
        faults.push(format!("{at}: it has no volume at {data}"));
    }
}

/// The port on which the service `name` answers requests.
fn port_of(files: &Files, services: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
    let service = services.get(name)?;
    http_port(&variables(files, service), role(service))
}

fn compare_front(files: &Files, services: &serde_json::Map<String, Value>, faults: &mut Vec<String>) {
    const UPSTREAMS: &str = "deploy/nginx/upstreams.conf";
    let upstreams = files.text(UPSTREAMS);
    let mut servers = 0;
    for line in upstreams.lines().filter_map(|line| line.trim().strip_prefix("server ")) {
        let server = line.split([' ', ';']).next().unwrap_or_default();
        let (name, port) = server.split_once(':').unwrap_or_default();
        if port_of(files, services, name).as_deref() != Some(port) {
            faults.push(format!("{UPSTREAMS}: {name} does not listen on {port}"));
        }
        servers += 1;
    }
    let gateways = services.values().filter(|service| is_ours(service) && role(service) == "gateway").count();
    if servers != gateways + 2 {
        faults.push(format!("{UPSTREAMS}: {servers} servers for {gateways} gateways, order-core and admin"));
    }
    let listen = files.text("deploy/nginx/listen.conf");
    let published = strings(&services["nginx"]["ports"]);
    if !published.iter().all(|published| listen.contains(&format!("listen {};", port(published)))) {
        faults.push(format!("deploy/nginx/listen.conf: it does not listen on {published:?}"));
    }
}

fn compare_targets(files: &Files, services: &serde_json::Map<String, Value>, faults: &mut Vec<String>) {
    const TARGETS: &str = "deploy/prometheus/prometheus.yml";
    let config = files.yaml(TARGETS).remove(0);
    let groups = config["scrape_configs"][0]["static_configs"].as_array().unwrap();
    let mut targets = BTreeSet::new();
    for group in groups {
        for target in strings(&group["targets"]) {
            let (name, port) = target.split_once(':').unwrap_or_default();
            let service = services.get(name).cloned().unwrap_or_default();
            let variables = variables(files, &service);
            if listens(&variables, "MALL_METRICS__LISTEN") != Some(port) || group["labels"]["role"] != role(&service) {
                faults.push(format!("{TARGETS}: {target} has no metrics, or another role"));
            }
            targets.insert(name.to_owned());
        }
    }
    let scraped = |service: &Value| is_ours(service) && ["gateway", "order-core", "admin"].contains(&role(service));
    for (name, _) in services.iter().filter(|(name, service)| scraped(service) && !targets.contains(*name)) {
        faults.push(format!("{TARGETS}: {name} is not scraped"));
    }
}
