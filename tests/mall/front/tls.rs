//! The TLS example of the configuration, with a certificate that is made here.

use std::process::Command;

use services::Listen;

use super::start_before;
use crate::process::{Mall, token};

/// What curl prints: the heads of all answers, and the last body.
fn curl(certificate: &str, arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "20", "--cacert", certificate])
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn nginx_speaks_http_2_over_tls() {
    if Command::new("curl").arg("--version").output().is_err() {
        services::skipped("nginx", "no curl on the PATH to speak HTTP/2 with");
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start_before(&[&mall.gateway], &mall, "limits-off.conf", Listen::Tls) else { return };
    let certificate = data.path().join("certificate.pem").display().to_string();
    std::fs::write(&certificate, front.certificate().unwrap()).unwrap();
    let place = format!("https://localhost:{}", front.address().port());
    let asset = format!("/assets/{}/css/shop.css", shop::HASH);
    for path in ["/", &asset, "/api/v1/categories", "/api/v1/time", "/nothing"] {
        let answer = curl(&certificate, &["--http2", &format!("{place}{path}")]);
        let status = if path == "/nothing" { "HTTP/2 404" } else { "HTTP/2 200" };
        assert!(answer.starts_with(status), "{path}: {answer}");
        assert!(answer.contains("\nstrict-transport-security: max-age=31536000\r\n"), "{path}: {answer}");
    }
    let answer = curl(&certificate, &["--http1.1", &format!("{place}/")]);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = curl(&certificate, &["--tls-max", "1.1", &format!("{place}/")]);
    assert!(!answer.contains("200"), "TLS 1.1 is taken: {answer}");

    // A sale over one connection of HTTP/2, and the event that follows.
    let sale = mall.sale(2);
    let bearer = format!("Authorization: Bearer {}", token(7));
    let body = format!(r#"{{"activity_id":"{sale}","quantity":1}}"#);
    let headers = ["--http2", "-H", &bearer, "-H", "Content-Type: application/json", "-H", "Idempotency-Key: k7"];
    let url = format!("{place}/api/v1/seckill/orders");
    let held = curl(&certificate, &[&headers[..], &["-d", &body, &url]].concat());
    assert!(held.starts_with("HTTP/2 202"), "{held}");
    let order = held.split_once(r#""order_id":""#).unwrap().1.split_once('"').unwrap().0;
    let events =
        curl(&certificate, &["--http2", "-N", "-H", &bearer, "--max-time", "5", &format!("{url}/{order}/events")]);
    assert!(events.starts_with("HTTP/2 200") && events.contains("event: status\n"), "{events}");
}

#[test]
fn without_tls_nothing_is_said_about_it() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start_before(&[&mall.gateway], &mall, "limits-off.conf", Listen::Plain) else { return };
    let (_, headers, _) = super::fetch(&front, "/", &[]);
    assert!(!headers.contains("strict-transport-security"), "{headers}");
}
