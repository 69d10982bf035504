//! The manifests.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Files, Program, Variables, compose::FINISH_S, listens, program::image_variables, strings, text};
use crate::process::get;

const FOLDER: &str = "deploy/kubernetes";
const SECRETS: &str = "/secrets/";

/// The documents of all manifests, each with its file.
fn documents(files: &Files) -> Vec<(String, Value)> {
    let paths = Files::list(FOLDER);
    paths.iter().flat_map(|path| files.yaml(path).into_iter().map(|one| (path.clone(), one))).collect()
}

pub(super) fn compare(files: &Files, program: &Program, faults: &mut Vec<String>) {
    let documents = documents(files);
    let of_kind = |kind: &'static str| documents.iter().filter(move |(_, one)| one["kind"] == kind).map(|(_, one)| one);
    let settings = of_kind("ConfigMap").next().unwrap()["data"].as_object().unwrap();
    let settings: Variables = settings.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let secret = of_kind("Secret").next().unwrap()["stringData"].as_object().unwrap();
    let secrets: BTreeSet<&str> = secret.keys().map(String::as_str).collect();
    let services: Vec<&Value> = of_kind("Service").collect();
    for (path, workload) in documents.iter().filter(|(_, one)| one["kind"] == "Deployment" || one["kind"] == "Job") {
        let pod = &workload["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let mut variables = image_variables(files);
        if !container["envFrom"].is_null() {
            variables.extend(settings.clone());
        }
        let own = container["env"].as_array().into_iter().flatten();
        variables.extend(own.map(|one| (text(&one["name"]), text(&one["value"]))));
        let find = |value: &str| value.strip_prefix(SECRETS).map(str::to_owned);
        for missing in
            variables.values().filter_map(|value| find(value)).filter(|name| !secrets.contains(name.as_str()))
        {
            faults.push(format!("{path}: the secret has no {missing}"));
        }
        let arguments = strings(&container["args"]);
        program.compare(path, (&arguments, &variables), find, faults);
        if workload["kind"] == "Deployment" {
            compare_service(path, (workload, &variables), &services, program, faults);
        }
    }
    for (path, ingress) in documents.iter().filter(|(_, one)| one["kind"] == "Ingress") {
        compare_ingress(path, ingress, &services, program, faults);
    }
}

fn compare_service(
    path: &str,
    (workload, variables): (&Value, &Variables),
    services: &[&Value],
    program: &Program,
    faults: &mut Vec<String>,
) {
    let pod = &workload["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let role = text(&container["args"][0]);
    let key = format!("MALL_{}__LISTEN", role.replace('-', "_").to_uppercase());
    let place = match role.as_str() {
        "gateway" => &program.mall.gateway,
        "order-core" => &program.mall.order_core,
        _ => &program.mall.admin,
    };
    for (name, setting) in [("http", key.as_str()), ("metrics", "MALL_METRICS__LISTEN")] {
        let ports = container["ports"].as_array().into_iter().flatten();
        let port = ports.into_iter().find(|port| port["name"] == name).map(|port| text(&port["containerPort"]));
        if port.as_deref() != listens(variables, setting) {
            faults.push(format!("{path}: the port {name} is {port:?}, and {setting} says otherwise"));
        }
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get_from = &container[probe]["httpGet"];
        let status = get(&format!("{place}{}", get_from["path"].as_str().unwrap_or_default()), None).0;
        if get_from["port"] != "http" || status != 200 {
            faults.push(format!("{path}: {probe} of {role} gets {status}"));
        }
    }
    let drain_ms: u64 = variables["MALL_SHUTDOWN__DRAIN_MS"].parse().unwrap_or(u64::MAX);
    if pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(0) * 1_000 < drain_ms.saturating_add(FINISH_S * 1_000) {
        faults.push(format!("{path}: a pod is killed before it has finished"));
    }
    let labels = &workload["spec"]["template"]["metadata"]["labels"];
    let selects = |service: &&&Value| {
        let selector = service["spec"]["selector"].as_object().into_iter().flatten();
        selector.into_iter().all(|(name, value)| labels[name] == *value)
    };
    if services.iter().filter(selects).count() != 1 {
        faults.push(format!("{path}: not one service leads to {role}"));
    }
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    if !mounts.into_iter().any(|mount| mount["mountPath"] == variables["MALL_DATA_DIR"].as_str()) {
        faults.push(format!("{path}: no volume is at MALL_DATA_DIR"));
    }
}

/// Every backend is a service, and every exact path is answered there.
fn compare_ingress(path: &str, ingress: &Value, services: &[&Value], program: &Program, faults: &mut Vec<String>) {
    for rule in ingress["spec"]["rules"][0]["http"]["paths"].as_array().into_iter().flatten() {
        let name = rule["backend"]["service"]["name"].as_str().unwrap_or_default();
        if !services.iter().any(|service| service["metadata"]["name"] == name) {
            faults.push(format!("{path}: there is no service {name}"));
            continue;
        }
        let place = if name == "gateway" { &program.mall.gateway } else { &program.mall.order_core };
        let asked = text(&rule["path"]);
        let status = if rule["pathType"] == "Exact" { get(&format!("{place}{asked}"), None).0 } else { 200 };
        if status != 200 {
            faults.push(format!("{path}: {name} answers {status} at {asked}"));
        }
    }
}
