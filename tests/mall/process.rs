//! The real binary as a child process, and the calls that the tests make to it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use contract::{
    UserId,
    token::{Audience, TokenKey},
};
use serde_json::{Value, json};
use ureq::Agent;

pub(crate) const SHOPPER_SECRET: &str = "the shoppers' secret of the end-to-end tests";
pub(crate) const ADMIN_PASSWORD: &str = "the admin of the end-to-end tests";
/// Units of a sale's SKU that are not in the sale.
const SKU_REST: u64 = 100;
/// Beyond it a test is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a mall's parts are.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) gateway: String,
    pub(crate) order_core: String,
    pub(crate) admin: String,
}

/// A mall that runs in one process. Dropping it kills it.
pub(crate) struct Mall {
    process: Process,
    shop: Shop,
}

/// A process that is killed with this.
pub(crate) struct Process(Mutex<Child>);

/// The command, with ports of its own and cheap password hashes.
pub(crate) fn command(data: &Path, settings: &[(&str, &str)]) -> Command {
    // An optimised program, for figures: `bench/search.sh` names it.
    let program = std::env::var_os("MALL_TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_mall").into());
    let mut command = Command::new(program);
    command.env_clear().env("MALL_DATA_DIR", data).env("MALL_AUTH__BCRYPT_COST", "4");
    command.env("MALL_AUTH__SHOPPER_SECRET", SHOPPER_SECRET).env("MALL_ADMIN_PASSWORD", ADMIN_PASSWORD);
    for service in ["GATEWAY", "ORDER_CORE", "ADMIN"] {
        command.env(format!("MALL_{service}__LISTEN"), "127.0.0.1:0");
        command.env(format!("MALL_{service}__CONNECTIONS_PER_CLIENT_MAX"), "20000");
    }
    command.env("MALL_METRICS__LISTEN", "off");
    command.env("MALL_LOG__LEVEL", "warn").env("MALL_GATEWAY__USER_RATE_PER_S", "0");
    for limit in ["SIGN_IN", "WRITE", "READ"] {
        command.env(format!("MALL_LIMITS__{limit}_MAX"), "0");
    }
    command.envs(settings.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Mall {
    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(command(data, settings))
    }

    /// The same with a command that is made already.
    pub(crate) fn run(command: Command) -> Self {
        let (process, [_shop, gateway, order_core, admin]) = Process::start(command);
        Self { process, shop: Shop { gateway, order_core, admin } }
    }

    /// kill -9, while others still ask.
    pub(crate) fn kill_now(&self) {
        self.process.kill_now();
    }

    /// The processors that its thread of this name may run on, as Linux lists them.
    pub(crate) fn processors(&self, thread: &str) -> Option<String> {
        let id = self.process.0.lock().unwrap().id();
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
        let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok());
        let field = |status: &str, name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
        };
        let found = statuses.filter(|status| field(status, "Name:").as_deref() == Some(thread));
        found.filter_map(|status| field(&status, "Cpus_allowed_list:")).next()
    }

    /// SIGTERM, and what the process makes of it.
    pub(crate) fn stop(self) -> ExitStatus {
        self.process.stop()
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(self) -> ExitStatus {
        self.process.ended()
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }
}

impl std::ops::Deref for Mall {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Process {
    /// Starts it and waits until it has said `N` times where it listens.
    pub(crate) fn start<const N: usize>(mut command: Command) -> (Self, [String; N]) {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut places = Vec::new();
        for line in lines {
            let line = line.unwrap();
            places.extend(line.split_once("http://").map(|(_, place)| format!("http://{place}")));
            if places.len() == N {
                break;
            }
        }
        let Ok(places) = <[String; N]>::try_from(places) else {
            panic!("{command:?} ended before it was ready: {:?}", child.wait());
        };
        (Self(Mutex::new(child)), places)
    }

    /// Starts it without waiting for anything.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(Mutex::new(command.spawn().unwrap()))
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.0.lock().unwrap().id();
        assert!(Command::new("kill").args([format!("-{signal}"), id.to_string()]).status().unwrap().success());
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(&self) -> ExitStatus {
        self.0.lock().unwrap().wait().unwrap()
    }

    /// What it writes to standard error, where that is piped.
    pub(crate) fn take_stderr(&self) -> ChildStderr {
        self.0.lock().unwrap().stderr.take().unwrap()
    }

    /// kill -9, while others still ask.
    pub(crate) fn kill_now(&self) {
        let mut child = self.0.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and what the process makes of it.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }
}

impl Shop {
    pub(crate) fn admin_post(&self, path: &str, body: Value) -> Value {
        let token = self.admin_token();
        let (status, answer) = post(&agent(), &format!("{}/admin/api/v1{path}", self.admin), Some(&token), None, &body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    pub(crate) fn admin_token(&self) -> String {
        let sign_in = json!({"username": "admin", "password": ADMIN_PASSWORD});
        let (_, session) = post(&agent(), &format!("{}/admin/api/v1/sessions", self.admin), None, None, &sign_in);
        session["access_token"].as_str().unwrap().to_owned()
    }

    /// Adds a picture of a product; its id.
    pub(crate) fn add_picture(&self, picture: &[u8]) -> String {
        let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n";
        let request = agent()
            .post(&format!("{}/admin/api/v1/images", self.admin))
            .header("Authorization", &format!("Bearer {}", self.admin_token()))
            .header("Content-Type", "multipart/form-data; boundary=b");
        let mut answer = request.send(&[head, picture, b"\r\n--b--\r\n"].concat()[..]).unwrap();
        let added: Value = answer.body_mut().read_json().unwrap();
        assert_eq!(answer.status(), 201, "{added}");
        added["image_id"].as_str().unwrap().to_owned()
    }

    /// A sale of `stock` units that has begun; waits until the gateway sells.
    pub(crate) fn sale(&self, stock: u64) -> String {
        self.sale_with(stock, &json!({}))
    }

    /// The same with `more` fields; its SKU has [`SKU_REST`] units left.
    pub(crate) fn sale_with(&self, stock: u64, more: &Value) -> String {
        let category = self.admin_post("/categories", json!({"name": format!("类{}", now_ms())}));
        let product =
            self.admin_post("/products", json!({"title": "秒杀手机 📱", "category_id": category["category_id"]}));
        let path = format!("/products/{}/skus", product["product_id"].as_str().unwrap());
        let sku = self
            .admin_post(&path, json!({"attributes": {"颜色": "黑"}, "price_cents": 9900, "stock": stock + SKU_REST}));
        let at = |ms: u64| foundation::rfc3339::format(now_ms() + ms);
        let mut activity = json!({
            "title": "抢购", "sku_id": sku["sku_id"], "price_cents": 100, "stock": stock, "per_user_limit": 1,
            "starts_at": at(0), "ends_at": at(3_600_000),
        });
        activity.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let activity = self.admin_post("/activities", activity);
        let id = activity["activity_id"].as_str().unwrap().to_owned();
        until("the activity is open at the gateway", || {
            let (status, body) = get(&format!("{}/api/v1/seckill/activities/{id}", self.gateway), None);
            status == 200 && body["state"] == "open"
        });
        self.admin_post(&format!("/activities/{id}/warm"), json!({}));
        id
    }

    /// The auditor's list.
    pub(crate) fn audit(&self, activity: &str) -> Value {
        let (status, audit) = self.try_audit(activity);
        assert_eq!(status, 200, "{audit}");
        audit
    }

    /// The auditor's list, or the reason why it is missing; 0 without an answer.
    pub(crate) fn try_audit(&self, activity: &str) -> (u16, Value) {
        let sign_in = json!({"username": "admin", "password": ADMIN_PASSWORD});
        let (_, session) = post(&agent(), &format!("{}/admin/api/v1/sessions", self.admin), None, None, &sign_in);
        let path = format!("{}/admin/api/v1/activities/{activity}/audit", self.admin);
        try_get(&path, session["access_token"].as_str()).unwrap_or((0, Value::Null))
    }

    /// One reservation; `None` where no answer came.
    pub(crate) fn buy(&self, agent: &Agent, activity: &str, user: i64, key: &str) -> Option<(u16, Value)> {
        let url = format!("{}/api/v1/seckill/orders", self.gateway);
        let body = json!({"activity_id": activity, "quantity": 1});
        let mut answer = agent
            .post(&url)
            .header("Authorization", &format!("Bearer {}", token(user)))
            .header("Idempotency-Key", key)
            .send_json(&body)
            .ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_json().ok()?))
    }

    /// The order as its owner sees it at order-core.
    pub(crate) fn order(&self, order: &str, user: i64) -> (u16, Value) {
        get(&format!("{}/api/v1/orders/{order}", self.order_core), Some(&token(user)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let mut child = self.0.lock().unwrap();
        drop(child.kill());
        drop(child.wait());
    }
}

/// Keeps its connection, and takes refusals as answers.
pub(crate) fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(5)));
    config.build().into()
}

fn post(agent: &Agent, url: &str, token: Option<&str>, key: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = agent.post(url);
    if let Some(token) = token {
        request = request.header("Authorization", &format!("Bearer {token}"));
    }
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let mut answer = request.send_json(body).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null))
}

/// Any call; the body is left out where it is null.
pub(crate) fn call(method: &str, url: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let body = if body.is_null() {
        String::new()
    } else {
        request = request.header("Content-Type", "application/json");
        body.to_string()
    };
    let mut answer = agent().run(request.body(body).unwrap()).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null))
}

pub(crate) fn get(url: &str, token: Option<&str>) -> (u16, Value) {
    try_get(url, token).unwrap()
}

fn try_get(url: &str, token: Option<&str>) -> Result<(u16, Value), ureq::Error> {
    let mut request = agent().get(url);
    if let Some(token) = token {
        request = request.header("Authorization", &format!("Bearer {token}"));
    }
    let mut answer = request.call()?;
    Ok((answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null)))
}

pub(crate) fn token(user: i64) -> String {
    let key = TokenKey::new(SHOPPER_SECRET.as_bytes(), Audience::Shopper);
    key.sign(UserId::from_i64(user).unwrap(), None, now_ms() / 1000, 3600)
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Waits until `holds`.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
