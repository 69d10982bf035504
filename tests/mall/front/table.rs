//! The table of raw bytes through nginx as it is deployed. Whatever a client sends, nginx and the gateway agree on where a
//! request ends: the gateway answers exactly the requests that nginx says it passed on, and no other.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;
use services::{Listen, Nginx};

#[path = "../../../gateway/core/tests/http_table/cases.rs"]
#[allow(dead_code, reason = "the core's own tests ask for more")]
mod http_table;

use self::http_table::Case;
use super::start_before;
use crate::process::{Mall, get, until};

/// nginx closes a connection that is silent for a second; a busy machine may take much longer.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);
/// The gateway publishes its counters every 20 ms.
const COUNTED_WITHIN: Duration = Duration::from_millis(500);

/// The case's bytes, with a path that nginx passes on in place of the one that it does not.
fn bytes(case: &Case) -> Vec<u8> {
    let (from, to) = (b"/ping", b"/api/v1/time");
    let mut bytes = Vec::new();
    let mut rest = &case.sent[..];
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        bytes.extend(&rest[..at]);
        bytes.extend(to);
        rest = &rest[at + from.len()..];
    }
    bytes.extend(rest);
    bytes
}

/// Statuses of all answers until nginx closes.
fn statuses(case: &Case, mut socket: TcpStream) -> Vec<u16> {
    socket.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
    let mut written = Vec::new();
    match socket.read_to_end(&mut written) {
        // A reset follows the last answer if the client sent more than was read.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("[{}] {error}", case.name),
        Ok(_) | Err(_) => {}
    }
    let text = String::from_utf8_lossy(&written).into_owned();
    let statuses = text.split("HTTP/1.1 ").skip(1).filter_map(|piece| piece.get(..3)?.parse().ok());
    statuses.filter(|status| *status >= 200).collect()
}

/// Answers of the gateway so far, by its own count.
fn counted(mall: &Mall) -> f64 {
    std::thread::sleep(COUNTED_WITHIN);
    let text = crate::operations::metrics(&mall.gateway);
    let lines = text.lines().filter(|line| line.starts_with("mall_gateway_answers_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The lines of requests in nginx's log that it passed on to the gateway.
fn passed(front: &Nginx, gateway: &str) -> usize {
    let log = front.requests();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["upstream"] == gateway).count()
}

#[test]
fn the_table_of_raw_bytes_through_the_front() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start_before(&[&mall.gateway], &mall, "limits-off.conf", Listen::Hasty) else { return };
    let gateway = mall.gateway.trim_start_matches("http://");
    // Reading the counters is a request too; once they grow by that alone, nobody else asks any more.
    until("the mall has started", || counted(&mall) + 1.0 == counted(&mall));
    let before = counted(&mall);
    let connect = || TcpStream::connect(front.address()).unwrap();
    let clients: Vec<(Case, TcpStream)> = http_table::cases().into_iter().map(|case| (case, connect())).collect();
    for (case, socket) in &clients {
        // It may have been refused before it was all sent.
        drop((&*socket).write_all(&bytes(case)));
    }
    let mut faults = Vec::new();
    for (case, socket) in clients {
        let came = statuses(&case, socket);
        let due = case.statuses();
        // nginx may refuse what the gateway would take, never the other way round.
        let refuses = due.iter().all(|status| *status == 400);
        let is_fault = came.iter().any(|status| matches!(status, 500 | 502..=504));
        if is_fault || refuses && came.contains(&200) && !repairs(&case.name) {
            faults.push(format!("[{}] {came:?} instead of {due:?}", case.name));
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));

    // nginx answers this one by itself; what its log has before this line is all that there was.
    assert_eq!(get(&format!("http://{}/the-last-one", front.address()), None).0, 404);
    until("nginx has written its log", || front.requests().contains("/the-last-one"));
    let passed = passed(&front, gateway);
    assert!(passed > 100, "only {passed} requests were passed on");
    let answered = counted(&mall) - before - 1.0;
    assert!(
        (answered - passed as f64).abs() < 0.5,
        "nginx passed {passed} requests on, the gateway answered {answered}"
    );
}

/// Cases that a server must refuse and that nginx repairs: what it passes on is right.
fn repairs(name: &str) -> bool {
    const REPAIRED: &str = include_str!("repaired.txt");
    REPAIRED.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).any(|word| word == name)
}
