//! Readiness while the mall can't write, and that writes go on without a restart.

use serde_json::json;

use crate::process::{Mall, Shop, agent, call, get, until};

/// The three services' `/readyz`: their status, where all agree on one, and their bodies.
fn ready(mall: &Shop) -> (Option<u16>, String) {
    let answers = [&mall.gateway, &mall.order_core, &mall.admin].map(|service| get(&format!("{service}/readyz"), None));
    let status = answers[0].0;
    let agreed = answers.iter().all(|(other, _)| *other == status).then_some(status);
    (agreed, answers.map(|(_, body)| body.to_string()).join(" "))
}

fn register(mall: &Shop, name: &str) -> u16 {
    let body = json!({"username": name, "password": "a long password"});
    call("POST", &format!("{}/api/v1/users", mall.order_core), None, &body).0
}

#[test]
fn a_full_disk_is_reported_and_writes_go_on_once_there_is_room() {
    let Some(disk) = services::SmallDisk::mount(24) else { return };
    let mall = Mall::start(disk.path(), &[]);
    let activity = mall.sale(10);
    assert_eq!((ready(&mall).0, register(&mall, "before")), (Some(200), 201));

    disk.fill();
    // The write-ahead log has room from the seed, so the first writes still succeed.
    let names = std::cell::Cell::new(0);
    let next_name = || format!("meanwhile{}", names.replace(names.get() + 1));
    until("a write is refused", || register(&mall, &next_name()) == 503);
    until("readiness reports the full disk", || ready(&mall).0 == Some(503));
    let (_, reasons) = ready(&mall);
    assert!(reasons.matches("disk is full").count() >= 3, "{reasons}");
    assert_eq!(mall.buy(&agent(), &activity, 1, "a").unwrap().0, 503);

    disk.free();
    until("all are ready again", || ready(&mall).0 == Some(200));
    assert_eq!(register(&mall, "after"), 201);
    until("units are sold again", || mall.buy(&agent(), &activity, 2, "b").unwrap().0 == 202);
    let bought = mall.buy(&agent(), &activity, 2, "b").unwrap();
    let order = bought.1["order_id"].as_str().unwrap();
    until("the order is written", || mall.order(order, 2).0 == 200);
    assert_eq!(mall.audit(&activity)["ok"], true);
    drop(mall);
}

#[test]
fn a_read_only_database_is_reported_while_it_is() {
    let Some(server) = services::MariaDb::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[("MALL_DATABASE__URL", &server.database())]);
    assert_eq!((ready(&mall).0, register(&mall, "before")), (Some(200), 201));
    server.sql("SET GLOBAL read_only = 1");
    // Nobody writes: it is found out all the same.
    until("readiness reports it", || ready(&mall).0 == Some(503));
    let (_, reasons) = ready(&mall);
    assert_eq!(reasons.matches("read-only").count(), 3, "{reasons}");
    assert_eq!(register(&mall, "meanwhile"), 503);
    server.sql("SET GLOBAL read_only = 0");
    until("all are ready again", || ready(&mall).0 == Some(200));
    assert_eq!(register(&mall, "after"), 201);
}
