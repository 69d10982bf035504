//! Threads and their sockets.

use std::{fs, io::Write};

use super::{PING, answer, on_every_driver, until};

/// The processors that a thread of this process may run on, as Linux lists them, by the thread's name.
fn processors(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        if field("Name:") == name {
            found.push(field("Cpus_allowed_list:").to_owned());
        }
    }
    found
}

#[test]
fn a_thread_stays_on_its_processor() {
    on_every_driver(|driver| {
        let mut parts = driver.parts();
        parts.cpu = Some(0);
        let server = parts.start();
        let name = format!("test-{}", driver.name());
        let pinned = || processors(&name).iter().filter(|list| *list == "0").count() >= 1;
        assert!(pinned(), "{:?}", processors(&name));
        drop(server);
    });
}

/// Two threads, each with a socket of its own.
#[test]
fn threads_share_a_port() {
    on_every_driver(|driver| {
        let first = driver.start();
        let mut parts = driver.parts();
        parts.address = first.address;
        let second = parts.start();
        let opened = |of: &super::Server| of.figures.read(|stats| stats.connections_opened);
        let mut sockets = Vec::new();
        until("both have clients", || {
            let mut socket = first.connect();
            socket.write_all(PING).unwrap();
            assert!(answer(&mut socket).ends_with("pong"));
            sockets.push(socket);
            // The first to start was asked whether it is ready before there was another.
            opened(&first) > 1 && opened(&second) > 1
        });
    });
}
