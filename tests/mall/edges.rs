//! What a process asks of its machine and shows to others: files, descriptors, standard output, and servers that are strict.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::process::{Mall, command};

/// Every file and directory below `path`, and its mode.
fn modes(path: &Path, into: &mut Vec<(String, u32)>) {
    let mode = std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    into.push((path.display().to_string(), mode));
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            modes(&entry.unwrap().path(), into);
        }
    }
}

#[test]
fn files_are_private_and_no_secret_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // A volume that other users may read, as containers get them.
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut mall = command(&data, &[]);
    mall.env_remove("MALL_ADMIN_PASSWORD");
    // With a soft limit of open files that is far below the hard one.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -Sn 256 && exec \"$0\""]).arg(mall.get_program()).env_clear();
    limited.envs(mall.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = limited.spawn().unwrap();
    let mut printed = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    while !printed.contains("Try:") {
        assert_ne!(lines.read_line(&mut printed).unwrap(), 0, "{printed}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    let password = std::fs::read_to_string(data.join("admin-password")).unwrap();
    let mut found = Vec::new();
    modes(&data, &mut found);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    lines.read_to_string(&mut printed).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!printed.contains(password.trim()) && !printed.contains("Bearer"), "{printed}");
    assert!(printed.contains(&data.join("admin-password").display().to_string()), "{printed}");
    assert!(found.len() > 5);
    for (path, mode) in found {
        assert_eq!(mode & 0o077, 0, "{path}: {mode:o}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut completions = command(dir.path(), &[]);
    let mut child = completions.args(["completions", "bash"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
}

#[test]
fn short_secrets_and_plain_connections_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for (settings, expect) in [
        (&[("MALL_ADMIN__LISTEN", "0.0.0.0:0"), ("MALL_ADMIN_PASSWORD", "short")][..], "MALL_ADMIN_PASSWORD: expected"),
        (&[("MALL_REDIS__URL", "redis://redis.test")], "redis.allow_plaintext"),
    ] {
        let mut refused = command(dir.path(), settings);
        let output = refused.arg("check-config").stderr(Stdio::piped()).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && errors.contains(expect), "{errors}");
    }
}

/// The rights that docs/operations.md lists for the user of Redis, over TLS.
#[cfg(feature = "kafka")]
#[test]
fn a_sale_on_a_redis_with_tls_and_few_rights() {
    use crate::process::{Mall, agent, until};

    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md")).unwrap();
    let rights = manual.lines().find_map(|line| line.strip_prefix("ACL SETUSER mall on >PASSWORD ")).unwrap();
    let Some(authority) = services::Authority::new() else { return };
    let Some(redis) = services::Redis::start_tls(authority.issue("IP:127.0.0.1")) else { return };
    let rule: Vec<&str> =
        ["ACL", "SETUSER", "mall", "on", ">a-password"].into_iter().chain(rights.split(' ')).collect();
    assert_eq!(redis.ask(&rule).trim(), "OK");
    let url = redis.tls_url().replace("rediss://", "rediss://mall:a-password@");
    let (data, ca) = (tempfile::tempdir().unwrap(), authority.ca_file().display().to_string());
    let mall = Mall::start(data.path(), &[("MALL_REDIS__URL", &url), ("MALL_REDIS__CA_FILE", &ca)]);
    let activity = mall.sale(3);
    for user in 1..=3 {
        until("it is sold", || mall.buy(&agent(), &activity, user, "key").is_some_and(|(status, _)| status == 202));
    }
    until("the audit is sound", || {
        let (_, audit) = mall.try_audit(&activity);
        audit["ok"] == true && audit["held"] == 3
    });
    // What the user may not do it has not tried.
    let log = redis.ask(&["ACL", "LOG"]);
    assert!(log.trim().is_empty(), "{log}");
    let (_, account) = crate::process::get(&format!("{}/readyz", mall.admin), None);
    assert_eq!(account["ready"], true, "{account}");
}

/// The status of an answer, and what `headers` it has.
fn asked(method: &str, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = crate::process::agent().run(request.body(()).unwrap()).unwrap();
    (answer.status().as_u16(), format!("{:?}", answer.headers()))
}

/// What layers add around a service's paths is also around their answers to other methods.
#[test]
fn preflights_and_wrong_methods_pass_what_every_request_passes() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("MALL_WEB__ORIGINS", "https://shop.test"), ("MALL_LIMITS__WRITE_MAX", "5")];
    let mall = Mall::start(data.path(), &settings);
    let preflight = [("Origin", "https://shop.test"), ("Access-Control-Request-Method", "POST")];
    for url in [format!("{}/api/v1/orders", mall.order_core), format!("{}/api/v1/seckill/orders", mall.gateway)] {
        let (status, headers) = asked("OPTIONS", &url, &preflight);
        assert!(status == 204 && headers.contains("https://shop.test"), "{url}: {status} {headers}");
    }
    for service in [&mall.order_core, &mall.admin] {
        let path = if service == &mall.admin { "admin/api/v1/products" } else { "api/v1/products" };
        let statuses: Vec<u16> = (0..7).map(|_| asked("DELETE", &format!("{service}/{path}"), &[]).0).collect();
        assert_eq!(statuses, [405, 405, 405, 405, 405, 429, 429], "{service}");
    }
}

/// The figures show what the API hides.
#[test]
fn clients_of_other_hosts_see_no_metrics() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_TRUSTED_PROXIES", "127.0.0.1")]);
    for service in [&mall.gateway, &mall.order_core, &mall.admin] {
        let url = format!("{service}/metrics");
        assert_eq!(asked("GET", &url, &[]).0, 200, "{url}");
        assert_eq!(asked("GET", &url, &[("X-Forwarded-For", "203.0.113.9")]).0, 404, "{url}");
    }
}
