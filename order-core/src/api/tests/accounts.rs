//! Accounts: sign-ins that slow down an attacker and not the owner, sessions, passwords.

use axum::http::HeaderMap;

use super::*;

const HOST: &str = "127.0.0.1:8081";
const OWN: &str = "http://127.0.0.1:8081";

/// An answer with its headers.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }

    fn retry_after_s(&self) -> u64 {
        self.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap()
    }

    /// The cookie `name` as a browser would send it.
    fn cookie(&self, name: &str) -> String {
        let set = self.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
        let found = set.filter_map(|set| set.split(';').next()).find(|pair| pair.starts_with(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("no cookie {name}")).to_owned()
    }
}

impl TestApp {
    async fn request(&self, peer: &str, (method, path): (&str, &str), cookie: &str, body: &Value) -> Answer {
        let peer = ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .extension(peer)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, OWN)
            .header(header::COOKIE, cookie)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn sign_in_from(&self, peer: &str, username: &str, password: &str) -> Answer {
        let body = json!({ "username": username, "password": password });
        self.request(peer, ("POST", "/api/v1/sessions"), "", &body).await
    }

    async fn register_from(&self, peer: &str, username: &str) -> Answer {
        let body = json!({ "username": username, "password": "correct horse" });
        self.request(peer, ("POST", "/api/v1/users"), "", &body).await
    }
}

#[tokio::test]
async fn wrong_tries_from_elsewhere_never_delay_the_owner() {
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "owner").await;
    assert_eq!(app.sign_in_from("192.0.2.1", "owner", "correct horse").await.status, StatusCode::OK);
    let with_cookie = json!({ "username": "owner", "password": "correct horse", "cookie": true });
    let browser = app.request("192.0.2.2", ("POST", "/api/v1/sessions"), "", &with_cookie).await;
    let device = browser.cookie("mall_device");
    for at in 0..100 {
        let answer = app.sign_in_from(&format!("198.51.100.{}", at % 25), "owner", "wrong horse").await;
        assert!([401, 429].contains(&answer.status.as_u16()), "try {at}: {}", answer.status);
    }
    let owner = app.sign_in_from("192.0.2.1", "owner", "correct horse").await;
    assert_eq!(owner.status, StatusCode::OK, "from a remembered address: {}", owner.body);
    let moved = app.request("203.0.113.7", ("POST", "/api/v1/sessions"), &device, &with_cookie).await;
    assert_eq!(moved.status, StatusCode::OK, "with the cookie of its device: {}", moved.body);

    // A client that never signed in waits once, and not for long.
    let newcomer = app.sign_in_from("203.0.113.9", "owner", "correct horse").await;
    assert_eq!(newcomer.code(), (429, "locked"), "{}", newcomer.body);
    assert!((1..=30).contains(&newcomer.retry_after_s()), "{}", newcomer.retry_after_s());
    app.clock.advance(1_000 * newcomer.retry_after_s());
    for at in 0..20 {
        app.sign_in_from(&format!("198.51.100.{at}"), "owner", "wrong horse").await;
    }
    let newcomer = app.sign_in_from("203.0.113.9", "owner", "correct horse").await;
    assert_eq!(newcomer.status, StatusCode::OK, "{}", newcomer.body);
    // The cookie of another account's device is nobody's here, and so is one that is too old.
    app.register_from("192.0.2.1", "another").await;
    let body = json!({ "username": "another", "password": "correct horse", "cookie": true });
    let other = app.request("192.0.2.3", ("POST", "/api/v1/sessions"), "", &body).await.cookie("mall_device");
    let stranger = app.request("203.0.113.10", ("POST", "/api/v1/sessions"), &other, &with_cookie).await;
    assert_eq!(stranger.code(), (429, "locked"));
}

#[tokio::test]
async fn a_client_waits_for_its_own_wrong_tries() {
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "owner").await;
    assert_eq!(app.sign_in_from("192.0.2.1", "owner", "correct horse").await.status, StatusCode::OK);
    for peer in ["192.0.2.1", "198.51.100.1"] {
        for at in 0..5 {
            assert_eq!(
                app.sign_in_from(peer, "owner", "wrong horse").await.code(),
                (401, "invalid_credentials"),
                "{at}"
            );
        }
        assert_eq!(app.sign_in_from(peer, "owner", "correct horse").await.code(), (429, "locked"), "{peer}");
    }
    app.clock.advance(5 * 60_000);
    assert_eq!(app.sign_in_from("192.0.2.1", "owner", "correct horse").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_busy_server_does_not_count_against_a_password() {
    let app = TestApp::with_cost(10).await;
    app.register_from("192.0.2.1", "owner").await;
    let crowd = (0..12).map(|_| app.sign_in_from("192.0.2.9", "owner", "correct horse"));
    let answers = futures_util::future::join_all(crowd).await;
    let busy = answers.iter().filter(|answer| answer.code() == (503, "busy")).count();
    let signed_in = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!(busy + signed_in, 12, "{:?}", answers.iter().map(|answer| &answer.body).collect::<Vec<_>>());
    assert!(busy > 0 && signed_in > 0, "{busy} busy, {signed_in} signed in");
    assert_eq!(app.sign_in_from("192.0.2.9", "owner", "correct horse").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_name_that_nobody_can_have_is_answered_as_a_wrong_one_and_not_kept() {
    const NAMES: usize = 400;
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let app = TestApp::new().await;
    let name = |at: usize| format!("{at}{}", "n".repeat(240 << 10));
    app.sign_in_from("192.0.2.1", &name(0), "wrong horse").await;
    let before = resident();
    for at in 0..NAMES {
        let answer = app.sign_in_from(&format!("10.0.{}.{}", at / 250, at % 250), &name(at), "wrong horse").await;
        assert_eq!(answer.code(), (401, "invalid_credentials"));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < NAMES * (240 << 10) / 2, "{grown} bytes more");
}

#[tokio::test]
async fn an_address_learns_of_ten_names_a_minute_that_exist() {
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "taken").await;
    for at in 0..10 {
        assert_eq!(app.register_from("192.0.2.9", &format!("free-{at}")).await.status, StatusCode::CREATED);
        assert_eq!(app.register_from("192.0.2.9", "TAKEN").await.code(), (409, "username_taken"), "{at}");
    }
    for name in ["taken", "not-taken"] {
        let answer = app.register_from("192.0.2.9", name).await;
        assert_eq!(answer.code(), (429, "rate_limited"), "{name}");
        assert!((1..=60).contains(&answer.retry_after_s()));
    }
    assert_eq!(app.register_from("192.0.2.10", "taken").await.status, StatusCode::CONFLICT);
    app.clock.advance(60_000);
    assert_eq!(app.register_from("192.0.2.9", "not-taken").await.status, StatusCode::CREATED);
}

/// Somebody who is signed in.
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(session: &Value) -> Self {
        let text = |name: &str| session[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

impl TestApp {
    async fn session(&self, username: &str, password: &str) -> Tokens {
        let (status, session) = self.sign_in(username, password).await;
        assert_eq!(status, StatusCode::OK, "{session}");
        Tokens::of(&session)
    }

    /// Signs in again with the refresh token.
    async fn renew(&self, refresh: &str) -> Option<Tokens> {
        let (status, session) = self.post("/api/v1/sessions/refresh", json!({ "refresh_token": refresh })).await;
        assert!(status == StatusCode::OK || session["code"] == "invalid_token", "{session}");
        (status == StatusCode::OK).then(|| Tokens::of(&session))
    }

    async fn is_good(&self, access: &str) -> bool {
        let status = self.send("GET", "/api/v1/users/me", Some(access), None).await.0;
        assert!([StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&status), "{status}");
        status == StatusCode::OK
    }
}

#[tokio::test]
async fn any_token_of_a_session_that_was_replaced_ends_it() {
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "ada").await;
    let first = app.session("ada", "correct horse").await;
    let second = app.renew(&first.refresh).await.unwrap();
    let third = app.renew(&second.refresh).await.unwrap();
    let other = app.session("ada", "correct horse").await;
    app.clock.advance(store::GRACE_MS);
    assert!(app.renew(&first.refresh).await.is_none(), "a copy of the first token");
    assert!(app.renew(&third.refresh).await.is_none(), "the thief has the current one");
    assert!(!app.is_good(&third.access).await);
    assert!(app.is_good(&other.access).await && app.renew(&other.refresh).await.is_some(), "another session");
}

#[tokio::test]
async fn two_tabs_may_bring_the_same_token() {
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "ada").await;
    let first = app.session("ada", "correct horse").await;
    let answers = futures_util::future::join_all((0..6).map(|_| app.renew(&first.refresh))).await;
    let tokens: std::collections::BTreeSet<_> =
        answers.into_iter().map(|tokens| tokens.expect("each tab stays signed in").refresh).collect();
    assert_eq!(tokens.len(), 1);
    app.clock.advance(store::GRACE_MS - 1);
    assert!(app.renew(&first.refresh).await.is_some());
    assert!(app.renew(tokens.first().unwrap()).await.is_some());
}

#[tokio::test]
async fn a_session_ends_however_often_it_is_refreshed() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "ada").await;
    let mut tokens = app.session("ada", "correct horse").await;
    for day in 0..89 {
        app.clock.advance(DAY_MS);
        tokens = app.renew(&tokens.refresh).await.unwrap_or_else(|| panic!("day {day}"));
    }
    app.clock.advance(DAY_MS);
    assert!(app.renew(&tokens.refresh).await.is_none());
    let unused = app.session("ada", "correct horse").await;
    app.clock.advance(30 * DAY_MS);
    assert!(app.renew(&unused.refresh).await.is_none());
}

/// Behind one address are many shoppers.
#[tokio::test]
async fn refreshes_are_counted_by_session() {
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "ada").await;
    for _ in 0..40 {
        let tokens = app.session("ada", "correct horse").await;
        assert!(app.renew(&tokens.refresh).await.is_some());
    }
    let mut tokens = app.session("ada", "correct horse").await;
    for _ in 0..120 {
        tokens = app.renew(&tokens.refresh).await.unwrap();
    }
    let refresh = async |token: &str| app.post("/api/v1/sessions/refresh", json!({ "refresh_token": token })).await;
    assert_eq!(refresh(&tokens.refresh).await.0, StatusCode::TOO_MANY_REQUESTS);
    for _ in 0..30 {
        assert_eq!(refresh("no token").await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(refresh("no token").await.0, StatusCode::TOO_MANY_REQUESTS);
    app.clock.advance(60_000);
    assert!(app.renew(&tokens.refresh).await.is_some(), "it was not replaced when it was refused");
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let app = TestApp::new().await;
    app.register_from("192.0.2.1", "ada").await;
    let (own, other) = (app.session("ada", "correct horse").await, app.session("ada", "correct horse").await);
    let change = async |access: &str, old: &str, new: &str| {
        let body = json!({ "old_password": old, "new_password": new }).to_string();
        app.send("POST", "/api/v1/users/me/password", Some(access), Some(&body)).await
    };
    assert_eq!(change(&own.access, "wrong horse", "a better horse").await.1["code"], "wrong_password");
    assert_eq!(change(&own.access, "correct horse", "short").await.1["code"], "invalid_body");
    assert_eq!(change(&own.access, "correct horse", "a better horse").await.0, StatusCode::NO_CONTENT);
    assert!(app.is_good(&own.access).await && !app.is_good(&other.access).await);
    assert!(app.renew(&own.refresh).await.is_some() && app.renew(&other.refresh).await.is_none());
    assert_eq!(app.sign_in("ada", "correct horse").await.0, StatusCode::UNAUTHORIZED);
    app.session("ada", "a better horse").await;
    // A copied token does not serve to guess the password.
    for _ in 0..5 {
        change(&own.access, "wrong horse", "a better horse").await;
    }
    assert_eq!(change(&own.access, "a better horse", "the best horse").await.1["code"], "locked");
}

#[tokio::test]
async fn a_link_sets_a_new_password_once() {
    let app = TestApp::new().await;
    let registered = app.register_from("192.0.2.1", "ada").await;
    let user: UserId = registered.body["user_id"].as_str().unwrap().parse().unwrap();
    let before = app.session("ada", "correct horse").await;
    let reset = async |token: &str, password: &str| {
        app.post("/api/v1/users/reset", json!({ "token": token, "new_password": password })).await
    };
    let link = async |token: &str| {
        let now_ms = foundation::Clock::now_ms(&app.clock);
        assert!(app.store.accounts().add_reset_link(user, &store::token_digest(token), now_ms).await.unwrap());
    };
    assert_eq!(reset("first", "a better horse").await.1["code"], "invalid_link");
    link("first").await;
    link("second").await;
    assert_eq!(reset("first", "a better horse").await.1["code"], "invalid_link", "it was replaced");
    assert_eq!(reset("second", "short").await.1["code"], "invalid_body");
    assert_eq!(reset("second", "a better horse").await.0, StatusCode::NO_CONTENT);
    assert_eq!(reset("second", "another horse").await.1["code"], "invalid_link", "it is good once");
    assert!(!app.is_good(&before.access).await && app.renew(&before.refresh).await.is_none());
    app.session("ada", "a better horse").await;
    link("third").await;
    app.clock.advance(store::RESET_LINK_MS);
    assert_eq!(reset("third", "another horse").await.1["code"], "invalid_link", "it has expired");
}

#[tokio::test]
async fn a_password_is_the_same_however_it_is_composed() {
    let app = TestApp::new().await;
    // Composed, and with combining marks, as two keyboards send it.
    let (composed, decomposed) = ("p\u{e4}ssw\u{f6}rter", "pa\u{308}sswo\u{308}rter");
    let body = json!({ "username": "ada", "password": composed });
    assert_eq!(app.post("/api/v1/users", body).await.0, StatusCode::CREATED);
    app.session("ada", decomposed).await;
    app.session("ada", composed).await;
    // An account of an earlier version has the hash of what was sent.
    let hash = bcrypt::hash(decomposed, COST).unwrap();
    app.store.accounts().add_user("eva", &hash, None, START_MS).await.unwrap();
    app.session("eva", decomposed).await;
    // 72 bytes are counted in the form that is hashed.
    let long = "\u{fdfa}".repeat(8);
    let body = json!({ "username": "bob", "password": long });
    assert_eq!(app.post("/api/v1/users", body).await.1["code"], "invalid_body");
}

#[tokio::test]
async fn what_ends_a_session_ends_its_access_tokens() {
    let app = TestApp::new().await;
    let registered = app.register_from("192.0.2.1", "ada").await;
    let user: UserId = registered.body["user_id"].as_str().unwrap().parse().unwrap();
    let (first, second) = (app.session("ada", "correct horse").await, app.session("ada", "correct horse").await);
    let unnamed = TestApp::token(user.as_i64());
    let (_, listed) = app.send("GET", "/api/v1/sessions", Some(&first.access), None).await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|item| &item["current"]).collect::<Vec<_>>(), [false, true]);
    let path = |item: &Value| format!("/api/v1/sessions/{}", item["session_id"].as_str().unwrap());
    let (ended, stranger) = (path(&items[0]), TestApp::token(user.as_i64() + 1));
    assert_eq!(app.send("DELETE", &ended, Some(&stranger), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.send("DELETE", "/api/v1/sessions/x", Some(&first.access), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.send("DELETE", &ended, Some(&first.access), None).await.0, StatusCode::NO_CONTENT);
    assert!(app.is_good(&first.access).await && !app.is_good(&second.access).await && app.is_good(&unnamed).await);

    app.clock.advance(1_000);
    assert_eq!(app.send("DELETE", "/api/v1/sessions/current", Some(&first.access), None).await.0, 204);
    assert!(!app.is_good(&first.access).await && !app.is_good(&unnamed).await);
    let third = app.session("ada", "correct horse").await;
    assert!(app.is_good(&third.access).await);
    app.clock.advance(1_000);
    app.store.accounts().block_user(user, true, foundation::Clock::now_ms(&app.clock)).await.unwrap();
    let (status, _) = app.send("POST", "/api/v1/orders", Some(&third.access), Some("{}")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a blocked shopper orders nothing");
    app.store.accounts().block_user(user, false, foundation::Clock::now_ms(&app.clock)).await.unwrap();
    assert!(!app.is_good(&third.access).await);
}

/// The hash of a password takes its time, and the password may be changed meanwhile.
#[tokio::test]
async fn a_sign_in_that_is_under_way_does_not_outlive_a_cut() {
    let app = TestApp::new().await;
    let user = app.store.accounts().add_user("ada", "hash", None, START_MS).await.unwrap().unwrap().id;
    let begins = async |proof: &str, at_ms: u64| {
        let session = app.store.accounts().next_session().unwrap();
        app.store.accounts().add_session(session, user, (&format!("{session}"), proof), at_ms).await.unwrap().is_some()
    };
    assert!(begins("hash", START_MS).await);
    assert!(app.store.accounts().change_password(user, ("hash", "other"), None, START_MS + 2).await.unwrap());
    assert!(!begins("hash", START_MS + 1).await, "the old password was checked");
    assert!(!begins("hash", START_MS + 9_000_000).await, "by a process whose clock is ahead");
    // The clock of the process that changed the password may be hours ahead of the one at which the user signs in.
    assert!(begins("other", START_MS - 9_000_000).await);
    app.store.accounts().block_user(user, true, START_MS + 4).await.unwrap();
    assert!(!begins("other", START_MS + 5).await, "the user is blocked");
}

/// "Sign out everywhere", after a process whose clock was hours ahead has cut the user's tokens.
#[tokio::test]
async fn all_sessions_end_whatever_clock_cut_them_before() {
    let app = TestApp::new().await;
    let user = app.store.accounts().add_user("ada", "hash", None, START_MS).await.unwrap().unwrap().id;
    app.store.accounts().end_sessions(user, START_MS + 9_000_000).await.unwrap();
    let session = app.store.accounts().next_session().unwrap();
    app.store.accounts().add_session(session, user, ("token", "hash"), START_MS).await.unwrap().unwrap();
    let cuts = app.store.outbox(100).await.unwrap().len();
    app.store.accounts().end_sessions(user, START_MS + 1).await.unwrap();
    assert_eq!(app.store.accounts().sessions(user, START_MS).await.unwrap(), []);
    assert_eq!(app.store.outbox(100).await.unwrap().len(), cuts + 1, "the gateways hear of it");
    let signed_s = START_MS / 1000 + 5;
    assert!(
        !app.store.accounts().is_token_cut(user, (None, signed_s), START_MS + 5_000).await.unwrap(),
        "signed after it"
    );
}

#[tokio::test]
async fn a_session_that_gives_way_ends_its_tokens() {
    let app = TestApp::new().await;
    let user = app.store.accounts().add_user("ada", "hash", None, START_MS).await.unwrap().unwrap().id;
    for at in 0..store::SESSIONS_MAX {
        let session = app.store.accounts().next_session().unwrap();
        app.store.accounts().add_session(session, user, (&format!("{at}"), "hash"), START_MS).await.unwrap();
    }
    let before = app.store.outbox(100).await.unwrap().len();
    let session = app.store.accounts().next_session().unwrap();
    app.store.accounts().add_session(session, user, ("one more", "hash"), START_MS).await.unwrap();
    assert_eq!(app.store.accounts().sessions(user, START_MS).await.unwrap().len(), store::SESSIONS_MAX);
    assert_eq!(app.store.outbox(100).await.unwrap().len(), before + 1, "the gateways hear of the oldest one");
}

#[tokio::test]
async fn rows_that_cannot_matter_any_more_are_removed_a_few_at_a_time() {
    let app = TestApp::new().await;
    let mut users = Vec::new();
    for name in ["ada", "eva"] {
        users.push(app.store.accounts().add_user(name, "hash", None, START_MS).await.unwrap().unwrap().id);
    }
    for at in 0..3 * store::SESSIONS_MAX {
        let session = app.store.accounts().next_session().unwrap();
        app.store.accounts().add_session(session, users[at % 2], (&format!("{at}"), "hash"), START_MS).await.unwrap();
    }
    let now_ms = START_MS + store::SESSION_MS;
    let mut removed = Vec::new();
    for _ in 0..3 {
        removed.push(app.store.remove_ended(store::Ends::Sessions, now_ms).await.unwrap());
    }
    assert_eq!(removed.iter().sum::<usize>(), 2 * store::SESSIONS_MAX);
    for table in store::Ends::ALL {
        assert!(app.store.remove_ended(table, START_MS).await.unwrap() == 0, "{table:?}");
    }
}
