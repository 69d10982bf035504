//! A request takes no memory that is not there already.

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use contract::record::OrderStatus;
use gateway_core::{Next, Rate};

use crate::world::{RULES, World, buy, get, get_as, post};

/// Requests before it is counted, and then those that are.
const WARM_UP: u32 = 200;
const COUNTED: u32 = 100;

/// Sends `request` over and over on one connection. Each is answered with `status`, and takes `expect`
/// allocations, or there is a fault.
fn check(faults: &mut Vec<String>, world: &mut World, what: &str, request: &str, (status, expect): (u16, u64)) {
    let id = world.open();
    let mut out = Vec::with_capacity(4096);
    let mut taken = 0;
    for turn in 0..WARM_UP + COUNTED {
        // Less than a limit's pause in all.
        world.now.mono += Duration::from_micros(1);
        let mut count = AllocationInfo::default();
        let mut batch = None;
        count += measure(|| {
            world.core.handle_client(id, request.as_bytes(), world.now);
            batch = world.core.poll_batch();
        });
        // What the ledger takes is its own.
        if let Some(batch) = batch {
            let mut reply = Some(world.decide(&batch));
            count += measure(|| {
                if let Some(reply) = reply.take() {
                    world.core.handle_reply(batch.id, Ok(reply), world.now);
                }
            });
            world.follow();
        }
        out.clear();
        count += measure(|| {
            while world.core.poll_ready().is_some() {}
            while world.core.poll_client(id, &mut out) == Next::Write {}
        });
        assert!(out.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{what}: {}", out.escape_ascii());
        if turn >= WARM_UP {
            taken += count.count_total;
        }
    }
    world.core.close(id);
    if taken != u64::from(COUNTED) * expect {
        faults.push(format!("{what}: {taken} allocations in {COUNTED} requests, not {expect} each"));
    }
}

#[test]
fn a_request_takes_no_memory() {
    let mut world = World::new(1);
    let mut faults = Vec::new();
    let activity = "/api/v1/seckill/activities/1";
    let mut check = |world: &mut World, what: &str, request: &str, expect| {
        super::allocations::check(&mut faults, world, what, request, expect);
    };
    check(&mut world, "ping", &get("/ping", ""), (200, 0));
    check(&mut world, "time", &get("/api/v1/time", ""), (200, 0));
    check(&mut world, "activity", &get(activity, ""), (200, 0));
    let etag = world.ask(get(activity, "")).header("etag").to_owned();
    let same = get(activity, &format!("If-None-Match: {etag}\r\n"));
    check(&mut world, "activity that has not changed", &same, (304, 0));
    check(&mut world, "activities", &get("/api/v1/seckill/activities", ""), (200, 0));
    check(&mut world, "nothing", &get("/nothing", ""), (404, 0));
    check(&mut world, "unknown activity", &get("/api/v1/seckill/activities/77", ""), (404, 0));
    let unknown = post(7, "", r#"{"activity_id":"77","quantity":1}"#);
    check(&mut world, "order of an unknown activity", &unknown, (404, 0));
    check(&mut world, "no token", &buy(7, "a").replace("Bearer ", "Basic "), (401, 0));

    // A batch owns its reservations, and its reply the outcomes: one allocation a batch, however many share it.
    check(&mut world, "accepted", &buy(7, "a"), (202, 1));
    let order = world.ask(buy(7, "a")).order();
    let path = format!("/api/v1/seckill/orders/{order}");
    check(&mut world, "queued order", &get_as(7, &path), (200, 0));
    world.event(order, 7, OrderStatus::Paid);
    check(&mut world, "paid order", &get_as(7, &path), (200, 0));
    assert_eq!(world.ask(buy(8, "a")).code(), "sold_out");
    world.follow();
    check(&mut world, "sold out", &buy(8, "a"), (409, 0));

    let mut limited = World::with(1, RULES, |config| config.gate.client = Rate { per_second: 1, burst: 1 });
    limited.ask(buy(7, "a"));
    check(&mut limited, "limited client", &buy(7, "a"), (429, 0));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
