//! Each server starts, dies, comes back with its data, and does not outlive its owner.
#![expect(clippy::unwrap_used, reason = "a test may end so, its helpers too")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use services::{Elasticsearch, Kafka, MariaDb, Nginx, Redis};

fn is_running(id: u32) -> bool {
    Command::new("kill").args(["-0", &id.to_string()]).output().unwrap().status.success()
}

fn ask(redis: &Redis, command: &str, answer_bytes: usize) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    socket.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let mut answer = vec![0; answer_bytes];
    socket.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn redis_keeps_its_data_through_kill_9() {
    let Some(mut redis) = Redis::start() else { return };
    assert_eq!(ask(&redis, "SET stock 7", 3), "+OK");
    let id = redis.id().unwrap();
    redis.kill();
    assert!(!is_running(id));
    redis.resume();
    assert_eq!(ask(&redis, "GET stock", 5), "$1\r\n7");
    redis.stop();
    redis.resume();
    assert_eq!(ask(&redis, "GET stock", 5), "$1\r\n7");
    let id = redis.id().unwrap();
    drop(redis);
    assert!(!is_running(id));
}

#[test]
fn mariadb_keeps_its_data_through_kill_9() {
    let Some(mut database) = MariaDb::start() else { return };
    assert!(database.database().starts_with("mysql://mall_0:"));
    database.sql("CREATE TABLE mall_0.stock (units BIGINT); INSERT INTO mall_0.stock VALUES (7)");
    database.kill();
    database.resume();
    database.sql("INSERT INTO mall_0.stock SELECT units + 1 FROM mall_0.stock");
    let id = database.id().unwrap();
    drop(database);
    assert!(!is_running(id));
}

#[test]
fn kafka_comes_back_after_kill_9() {
    let Some(mut kafka) = Kafka::start() else { return };
    let id = kafka.id().unwrap();
    kafka.kill();
    assert!(!is_running(id));
    kafka.resume();
    let id = kafka.id().unwrap();
    drop(kafka);
    assert!(!is_running(id));
}

#[test]
fn elasticsearch_comes_back_after_kill_9() {
    let Some(mut server) = Elasticsearch::start() else { return };
    let id = server.id().unwrap();
    server.kill();
    assert!(!is_running(id));
    server.resume();
    let id = server.id().unwrap();
    drop(server);
    assert!(!is_running(id));
}

#[test]
fn nginx_passes_on_and_ends_with_its_owner() {
    let behind = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let Some(nginx) = Nginx::start(behind.local_addr().unwrap()) else { return };
    let mut client = TcpStream::connect(nginx.address()).unwrap();
    client.write_all(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    let (mut passed, _) = behind.accept().unwrap();
    let mut head = [0; 16];
    passed.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"GET /a HTTP/1.1\r");
    let id = nginx.id();
    drop(nginx);
    assert!(!is_running(id));
}

#[test]
fn nginx_asks_for_a_password_over_tls() {
    let behind = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let Some(nginx) = Nginx::start_tls(behind.local_addr().unwrap(), "shop", "s3cret") else { return };
    assert!(nginx.certificate().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let mut client = TcpStream::connect(nginx.address()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 400", "plain text is refused");
}
