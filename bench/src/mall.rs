//! The mall as its admin, its shoppers and its monitoring see it: everything but the rush itself.

use std::{
    fmt::Display,
    str::FromStr,
    time::{Duration, Instant},
};

use contract::{ActivityId, CategoryId, OrderId, ProductId, SkuId};
use foundation::{Clock, SystemClock, rfc3339};
use serde_json::{Value, json};
use ureq::{
    Agent, RequestExt,
    http::{Method, Request, header},
};

use crate::audit::Audit;

pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(40);
/// The longest answer that a mall gives.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// A sale of the bench is open for so long.
const SALE_MS: u64 = 6 * 3_600_000;
const PRICE_CENTS: i64 = 9_900;
const ORIGINAL_PRICE_CENTS: i64 = 19_900;

/// One service of the mall.
struct Service {
    name: &'static str,
    base: String,
}

/// A way to the mall's services.
pub(crate) struct Mall {
    agent: Agent,
    gateways: Vec<Service>,
    order_core: Service,
    admin: Service,
    admin_token: String,
}

struct Reply {
    status: u16,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Status, and of a problem its code and detail.
    fn told(&self) -> String {
        let body = self.json();
        let member = |name: &str| body[name].as_str().map(|text| format!(" {text}")).unwrap_or_default();
        format!("{}{}{}", self.status, member("code"), member("detail"))
    }
}

/// An order as its owner reads it.
pub(crate) struct OrderAnswer {
    /// Why this is not the order that was asked for.
    pub fault: Option<String>,
    pub status: String,
    /// A server behind order-core is away: the same request may succeed later.
    pub is_unavailable: bool,
}

/// What the gateway has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LedgerCounts {
    pub commits: f64,
    pub reservations: f64,
}

impl Mall {
    pub(crate) fn new(gateways: &[String], order_core: &str, admin: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(CALL_TIMEOUT)).build();
        let service = |name, base: &str| Service { name, base: base.to_owned() };
        Self {
            agent: config.new_agent(),
            gateways: gateways.iter().map(|base| service("gateway", base)).collect(),
            order_core: service("order-core", order_core),
            admin: service("admin", admin),
            admin_token: String::new(),
        }
    }

    fn call(
        &self,
        service: &Service,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<(&str, &Value)>,
        timeout: Duration,
    ) -> Result<Reply, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", service.base));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let timeout = Some(timeout);
        let sent = match body {
            None => {
                let request = request.body(()).map_err(|error| error.to_string())?.with_agent(&self.agent);
                request.configure().timeout_global(timeout).build().run()
            }
            Some((key, body)) => {
                let request = request.header(header::CONTENT_TYPE, "application/json").header("Idempotency-Key", key);
                let request = request.body(body.to_string()).map_err(|error| error.to_string())?;
                request.with_agent(&self.agent).configure().timeout_global(timeout).build().run()
            }
        };
        let unreachable = |error: ureq::Error| format!("{} {}: can't reach it: {error}", service.name, service.base);
        let mut response = sent.map_err(unreachable)?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        Ok(Reply { status: response.status().as_u16(), text })
    }

    fn get(&self, service: &Service, path: &str, token: Option<&str>) -> Result<Reply, String> {
        self.call(service, Method::GET, path, token, None, CALL_TIMEOUT)
    }

    /// Waits until every gateway says that the whole is ready.
    pub(crate) fn wait_ready(&self) -> Result<(), String> {
        self.gateways.iter().try_for_each(|gateway| self.wait_ready_at(gateway))
    }

    fn wait_ready_at(&self, gateway: &Service) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let reply = self.get(gateway, "/readyz", None)?;
            if reply.status == 200 {
                return Ok(());
            }
            if began.elapsed() > READY_TIMEOUT {
                let (told, reasons) = (reply.told(), &reply.json()["reasons"]);
                return Err(format!("{} {}: not ready: {told} {reasons}", gateway.name, gateway.base));
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Signs in as `admin`; `source` names the place the password is from.
    pub(crate) fn sign_in(&mut self, password: &str, source: &str) -> Result<(), String> {
        let body = json!({ "username": "admin", "password": password });
        let path = "/admin/api/v1/sessions";
        let reply = self.call(&self.admin, Method::POST, path, None, Some(("bench-session", &body)), CALL_TIMEOUT)?;
        let body = reply.json();
        match (reply.status, body["access_token"].as_str()) {
            (200 | 201, Some(token)) => {
                self.admin_token = token.to_owned();
                Ok(())
            }
            _ => {
                let (base, told) = (&self.admin.base, reply.told());
                // The file has the first password, and the admin pages ask for another one.
                let hint = if reply.status == 401 {
                    "; if it was changed, give the new one with --admin-password"
                } else {
                    ""
                };
                Err(format!("admin {base}: signing in as admin with the password from {source}: {told}{hint}"))
            }
        }
    }

    fn post(&self, key: &str, path: &str, body: &Value) -> Result<Value, String> {
        let path = format!("/admin/api/v1{path}");
        let token = Some(self.admin_token.as_str());
        let reply = self.call(&self.admin, Method::POST, &path, token, Some((key, body)), CALL_TIMEOUT)?;
        match reply.status {
            200..=299 => Ok(reply.json()),
            _ => Err(format!("admin {}: POST {path}: {}", self.admin.base, reply.told())),
        }
    }

    fn create<T: FromStr>(&self, key: &str, path: &str, id: &str, body: &Value) -> Result<T, String> {
        let answer = self.post(key, path, body)?;
        let made = answer[id].as_str().and_then(|text| text.parse().ok());
        made.ok_or_else(|| format!("admin {}: POST /admin/api/v1{path}: no {id} in the answer", self.admin.base))
    }

    /// Makes a category, a product, a SKU and a flash sale of it that begins in a second.
    pub(crate) fn create_sale(&self, run: u32, stock: u32) -> Result<ActivityId, String> {
        let key = |step: &str| format!("bench-{run}-{step}");
        let title = format!("bench {run:08x}");
        let body = json!({ "name": title });
        let category: CategoryId = self.create(&key("category"), "/categories", "category_id", &body)?;
        let body = json!({ "title": title, "category_id": category });
        let product: ProductId = self.create(&key("product"), "/products", "product_id", &body)?;
        let body = json!({ "attributes": { "run": title }, "price_cents": ORIGINAL_PRICE_CENTS, "stock": stock });
        let sku: SkuId = self.create(&key("sku"), &format!("/products/{product}/skus"), "sku_id", &body)?;
        self.post(&key("shelve"), &format!("/products/{product}/shelve"), &json!({}))?;
        let starts_ms = SystemClock.now_ms() + 1000;
        let body = json!({
            "title": title,
            "sku_id": sku,
            "price_cents": PRICE_CENTS,
            "stock": stock,
            "per_user_limit": 1,
            "starts_at": rfc3339::format(starts_ms),
            "ends_at": rfc3339::format(starts_ms + SALE_MS),
        });
        let activity: ActivityId = self.create(&key("activity"), "/activities", "activity_id", &body)?;
        self.post(&key("warm"), &format!("/activities/{activity}/warm"), &json!({}))?;
        Ok(activity)
    }

    /// Waits until every gateway sells.
    pub(crate) fn wait_open(&self, activity: ActivityId) -> Result<(), String> {
        self.gateways.iter().try_for_each(|gateway| self.wait_open_at(gateway, activity))
    }

    fn wait_open_at(&self, gateway: &Service, activity: ActivityId) -> Result<(), String> {
        let path = format!("/api/v1/seckill/activities/{activity}");
        let began = Instant::now();
        loop {
            let reply = self.get(gateway, &path, None)?;
            let state = reply.json()["state"].as_str().unwrap_or("no state").to_owned();
            if state == "open" {
                return Ok(());
            }
            if began.elapsed() > READY_TIMEOUT {
                let (base, told) = (&gateway.base, reply.told());
                return Err(format!("gateway {base}: activity {activity} does not open: {told}, {state}"));
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// The mall's own audit, live.
    pub(crate) fn audit(&self, activity: ActivityId, timeout: Duration) -> Result<Audit, String> {
        let path = format!("/admin/api/v1/activities/{activity}/audit");
        let fault = |what: &dyn Display| format!("admin {}: GET {path}: {what}", self.admin.base);
        let reply = self.call(&self.admin, Method::GET, &path, Some(&self.admin_token), None, timeout)?;
        if reply.status != 200 {
            return Err(fault(&reply.told()));
        }
        serde_json::from_str(&reply.text).map_err(|error| fault(&format!("not an audit of the mall: {error}")))
    }

    /// What order-core answers to the owner of `token` about `order`.
    pub(crate) fn order(&self, token: &str, order: OrderId, timeout: Duration) -> Result<OrderAnswer, String> {
        let (service, path) = (&self.order_core, format!("/api/v1/orders/{order}"));
        let reply = self.call(service, Method::GET, &path, Some(token), None, timeout)?;
        let body = reply.json();
        let same = body["order_id"].as_str() == Some(&order.to_string());
        let fault = (reply.status != 200 || !same).then(|| format!("order {order}: {}", reply.told()));
        let status = body["status"].as_str().unwrap_or_default().to_owned();
        Ok(OrderAnswer { fault, status, is_unavailable: reply.status == 503 })
    }

    /// The gateways' counters; `None` where they do not tell them.
    pub(crate) fn ledger_counts(&self, timeout: Duration) -> Result<Option<LedgerCounts>, String> {
        let mut sum = LedgerCounts::default();
        for gateway in &self.gateways {
            let reply = self.call(gateway, Method::GET, "/metrics", None, None, timeout)?;
            let Some(counts) = ledger_counts(&reply.text) else { return Ok(None) };
            sum.commits += counts.commits;
            sum.reservations += counts.reservations;
        }
        Ok(Some(sum))
    }
}

fn ledger_counts(text: &str) -> Option<LedgerCounts> {
    Some(LedgerCounts {
        commits: sum(text, "mall_ledger_commits_total")?,
        reservations: sum(text, "mall_ledger_reservations_total")?,
    })
}

/// The sum of a metric over its labels.
fn sum(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    samples.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_labels() {
        let text = "# TYPE mall_ledger_commits_total counter\nmall_ledger_commits_total{core=\"0\"} 3\n\
            mall_ledger_commits_total{core=\"1\"} 4 1700000000\nmall_ledger_commits_total_x 9\n\
            mall_ledger_reservations_total 64\n";
        assert_eq!(ledger_counts(text), Some(LedgerCounts { commits: 7.0, reservations: 64.0 }));
        assert_eq!(ledger_counts("mall_ledger_commits_total 1\n"), None);
    }
}
