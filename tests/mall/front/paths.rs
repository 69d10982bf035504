//! What nginx passes on, however a path is written.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use services::{Listen, Nginx};

use super::{fetch, start_before};
use crate::process::{ADMIN_PASSWORD, Mall, get, until};

const CLOSED_WITHIN: Duration = Duration::from_secs(60);
/// Paths that lead to something at a service, and that nobody outside may ask for.
const INSIDE: [&str; 8] =
    ["metrics", "readyz", "healthz", "docs/", "openapi.json", "admin/", "admin/api/v1/orders", "admin/sign-in"];
const AUDIENCE: usize = 300;

/// Ways to write the path `/inside` that lead around a rule for its plain form.
fn disguises(inside: &str) -> Vec<String> {
    let (first, rest) = inside.split_at(1);
    let encoded = format!("%{:02x}{rest}", first.as_bytes()[0]);
    let upper = inside.to_ascii_uppercase();
    let mut paths: Vec<String> = [inside, &encoded, &upper].iter().map(|path| format!("/{path}")).collect();
    for before in [
        "//",
        "///",
        "/./",
        "/.//",
        "/%2e/",
        "/%2F",
        "/\\",
        "/%5c",
        "/;/",
        "/x;/../",
        "/x/../",
        "/x/%2e%2e/",
        "/x/%2E./",
        "/x/..%2f",
        "/x%2f../",
        "/x/..;/",
        "/x/..%00/",
        "/audit/../",
        "/audit/%2e%2e/",
        "/audit/1/../../",
        "/audit/1%2f..%2f..%2f",
        "/audit/..%2f",
        "/audit/..;/",
        "/audit/1;/../../",
        "/audit/1%00/../../",
        "/audit/assets/../../",
        "/audit/assets/0/..%2f..%2f..%2f",
        "/audit//../",
        "/api/v1/../../",
        "/api/v1/%2e%2e/%2e%2e/",
        "/api/v1/..%2f..%2f",
        "/api/v1/seckill/../../../",
        "/api/v1/seckill/..%2f..%2f..%2f",
        "/images/../",
        "/images/..%2f",
        "/images/%2e%2e%2f",
        "/mock-pay/../",
        "/mock-pay/..%2f",
        "/assets/../",
        "/assets/..%2f",
        "/%252e%252e/",
    ] {
        paths.push(format!("{before}{inside}"));
    }
    for after in [
        "%00",
        "%20",
        "%09",
        ";",
        ";.css",
        "/.",
        "/..;/",
        "%2f",
        "/../audit/1",
        "/..%2faudit/1",
        "/..%2f..%2f..%2f..%2faudit%2f1",
        "/%2e%2e/%2e%2e/%2e%2e/audit/1",
        "/..%2f..%2f..%2fapi/v1/time",
        "/..%2f..%2f..%2fapi/v1/categories",
        "/..%2f..%2f..%2fimages/1",
        "?/../../audit/1",
        "?x=/api/v1/time",
    ] {
        paths.push(format!("/{inside}{after}"));
    }
    // An absolute target, and one with a fragment.
    paths.push(format!("http://shop/{inside}"));
    paths.push(format!("http://shop/audit/..%2f{inside}"));
    paths.push(format!("/audit/1#/../../{inside}"));
    paths
}

/// The status of a request whose target is sent as it is.
fn status(front: &Nginx, target: &str) -> u16 {
    let mut socket = TcpStream::connect(front.address()).unwrap();
    socket.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
    write!(socket, "GET {target} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{target}: {text}"))
}

/// The requests that nginx passed on, as lines of its log, once it has written the one for `last`.
fn passed_on(front: &Nginx, last: &str) -> Vec<Value> {
    assert_eq!(status(front, last), 404);
    until("nginx has written its log", || front.requests().contains(last));
    let lines: Vec<Value> = front.requests().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.into_iter().filter(|line| line["upstream"].as_str().is_some_and(|at| !at.is_empty())).collect()
}

#[test]
fn however_a_path_is_written_it_leads_to_nothing_inside() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start_before(&[&mall.gateway], &mall, "limits-off.conf", Listen::Plain) else { return };
    for inside in INSIDE {
        for path in disguises(inside) {
            let status = status(&front, &path);
            assert!(matches!(status, 400 | 404), "{path}: {status}");
        }
    }
    let passed = passed_on(&front, "/the-last-one");
    assert!(passed.is_empty(), "{} of them are passed on: {passed:#?}", passed.len());

    // The rule is for paths: a search for any text is passed on.
    for query in ["q=..%2f..%2f;%00", "q=a//b/../c", "q=%5c"] {
        let path = format!("/api/v1/search?{query}");
        let (direct, _) = get(&format!("{}{path}", mall.order_core), None);
        assert_eq!(status(&front, &path), direct, "{query}");
    }
}

/// Publishes the audit of a sale as staff do, with a browser.
fn publish(mall: &Mall, sale: &str) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let at = |path: &str| format!("{}{path}", mall.admin);
    let form = [("username", "admin"), ("password", ADMIN_PASSWORD), ("next", "/admin/")];
    let answer = agent.post(at("/admin/sign-in")).header("Origin", &mall.admin).send_form(form).unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = agent.get(at("/admin/")).header("Cookie", &cookie).call().unwrap().body_mut().read_to_string().unwrap();
    let csrf = page.split(r#"name="csrf" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let request = agent.post(at(&format!("/admin/sales/{sale}/publish"))).header("Cookie", &cookie);
    let answer = request.header("Origin", &mall.admin).send_form([("csrf", csrf.as_str()), ("on", "on")]).unwrap();
    assert_eq!(answer.status(), 303);
}

#[test]
fn the_audience_of_an_audit_costs_admin_one_page_a_second() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start_before(&[&mall.gateway], &mall, "limits-off.conf", Listen::Plain) else { return };
    let sale = mall.sale(3);
    publish(&mall, &sale);
    let path = format!("/audit/{sale}");
    let (status, headers, page) = fetch(&front, &path, &[("accept-language", "en-GB,en;q=0.9")]);
    let page = String::from_utf8(page).unwrap();
    assert!(status == 200 && page.contains("Where each unit is"), "{status} {page}");
    assert!(headers.contains("content-security-policy: ") && headers.contains("cache-control: no-store"), "{headers}");
    let style = page.split('"').find(|part| part.ends_with("admin.css")).unwrap();
    assert_eq!(fetch(&front, style, &[]).0, 200, "{style}");

    let began = Instant::now();
    for number in 0..AUDIENCE {
        // Neither a cookie nor a token makes a difference.
        let (cookie, token) =
            (format!("mall_admin_session={number}; mall_admin_language=zh"), format!("Bearer {number}"));
        let headers = [("accept-language", "en"), ("cookie", &*cookie), ("authorization", &*token)];
        let (status, _, body) = fetch(&front, &path, &headers);
        assert!(status == 200 && String::from_utf8_lossy(&body).contains("Where each unit is"));
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    let (status, _, chinese) = fetch(&front, &path, &[]);
    assert!(status == 200 && String::from_utf8_lossy(&chinese).contains("页面每三秒更新"));
    let asked = passed_on(&front, "/the-last-one").iter().filter(|line| line["uri"] == path).count();
    // The first page, one in each second that has begun, and the Chinese one.
    assert!((2..=seconds + 3).contains(&asked), "admin was asked {asked} times in {seconds} s");

    let (status, _) = crate::process::call("POST", &format!("http://{}{path}", front.address()), None, &json!({}));
    assert_eq!(status, 403);
}
