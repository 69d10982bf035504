//! Browsers: the way to the shop, and pages of other origins.

use gateway_core::Origin;

use crate::world::{World, get, get_as, post};

const SHOP: &str = "http://127.0.0.1:8081";

fn world() -> World {
    World::with(1, crate::world::RULES, |config| {
        config.shop_url = SHOP.to_owned();
        config.origins = vec![Origin::new(SHOP)];
    })
}

#[test]
fn the_root_leads_to_the_shop() {
    let answer = world().ask(get("/", ""));
    assert_eq!((answer.status, answer.header("location")), (302, SHOP));
    assert_eq!(World::new(1).ask(get("/", "")).status, 404);
}

#[test]
fn pages_of_the_shop_may_call() {
    let mut world = world();
    let preflight = "OPTIONS /api/v1/seckill/orders HTTP/1.1\r\nHost: mall\r\nOrigin: http://127.0.0.1:8081\r\n\
        Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, idempotency-key\r\n\r\n";
    let answer = world.ask(preflight);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, SHOP));
    assert_eq!(answer.header("access-control-allow-headers"), "authorization, content-type, idempotency-key");
    assert_eq!(answer.header("access-control-max-age"), "600");

    let origin = format!("Origin: {SHOP}\r\n");
    for answer in
        [world.ask(get("/api/v1/time", &origin)), world.ask(post(1, &origin, "{}")), world.ask(get("/x", &origin))]
    {
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (SHOP, "origin"));
        assert!(answer.header("access-control-expose-headers").contains("retry-after"));
    }
}

#[test]
fn other_pages_may_not_and_apps_see_nothing_of_it() {
    let mut world = world();
    for origin in ["Origin: http://127.0.0.1:8082\r\n", "Origin: null\r\n", "Origin: http://127.0.0.1:80810\r\n", ""] {
        let answer = world.ask(get("/api/v1/time", origin));
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""), "{origin}");
    }
    assert_eq!(world.ask(get_as(1, "/api/v1/time")).header("vary"), "");
}
