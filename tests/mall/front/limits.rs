//! The limits of `nginx/conf.d/limits.conf`, which other tests of the front turn off.

use std::{io::Write as _, net::TcpStream};

use serde_json::Value;
use services::{Listen, Nginx};

use super::{fetch, start_before};
use crate::process::Mall;

/// Four times the burst.
const REQUESTS: usize = 400;
/// Fewer than the burst of `limit_req`, more than the 64 connections that were once allowed.
const HELD: usize = 90;

fn start(mall: &Mall, listen: Listen) -> Option<Nginx> {
    start_before(&[&mall.gateway], mall, "limits.conf", listen)
}

#[test]
fn nginx_limits_a_client() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start(&mall, Listen::Plain) else { return };
    let answers: Vec<_> = (0..REQUESTS).map(|_| fetch(&front, "/api/v1/time", &[])).collect();
    let refused: Vec<_> = answers.iter().filter(|(status, ..)| *status == 429).collect();
    assert!(!refused.is_empty() && answers[0].0 == 200, "{} of {REQUESTS} are refused", refused.len());
    let passed = answers.iter().filter(|(status, ..)| *status == 200).count();
    assert_eq!(passed + refused.len(), REQUESTS);
    let (_, headers, body) = refused[0];
    assert!(headers.contains("retry-after: 1\n"), "{headers}");
    assert!(headers.contains("content-type: application/problem+json"), "{headers}");
    assert!(headers.contains("x-content-type-options: nosniff"), "{headers}");
    let problem: Value = serde_json::from_slice(body).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"rate_limited".into()), "{problem}");
    assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32), "{problem}");
}

/// A client with IPv6 has a network of addresses, and all of them share its limit.
#[test]
fn nginx_counts_a_network_of_ipv6_as_one_client() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start(&mall, Listen::Behind) else { return };
    let refused = |address: &dyn Fn(usize) -> String| {
        let ask = |number| fetch(&front, "/api/v1/time", &[("x-forwarded-for", &address(number))]).0;
        (0..REQUESTS).map(ask).filter(|status| *status == 429).count()
    };
    assert!(refused(&|number| format!("2001:db8:1:2:{number:x}::1")) > 0, "one network of 64 bits");
    assert_eq!(refused(&|number| format!("2001:db8:2:{number:x}::1")), 0, "a network for each request");
    assert_eq!(refused(&|number| format!("198.18.{}.{}", number / 256, number % 256)), 0, "addresses of IPv4");
}

#[test]
fn nginx_takes_as_many_connections_of_a_client_as_the_gateway() {
    let limits = include_str!("../../../nginx/conf.d/limits.conf");
    let settings = include_str!("../../../docs/settings.example.yaml");
    let gateway = settings.split_once("\ngateway:").unwrap().1.split_once("connections_per_client_max: ").unwrap().1;
    let gateway = gateway.lines().next().unwrap();
    assert!(limits.contains(&format!("limit_conn connections {gateway};")), "{gateway} at the gateway:\n{limits}");

    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start(&mall, Listen::Plain) else { return };
    // nginx waits for each of these bodies.
    let head = b"POST /api/v1/seckill/orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n";
    let hold = || {
        let mut socket = TcpStream::connect(front.address()).unwrap();
        socket.write_all(head).unwrap();
        socket
    };
    let held: Vec<TcpStream> = (0..HELD).map(|_| hold()).collect();
    let (status, _, body) = fetch(&front, "/api/v1/time", &[]);
    assert_eq!(status, 200, "with {} others: {}", held.len(), String::from_utf8_lossy(&body));
}
