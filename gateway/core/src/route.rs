//! Paths.

use contract::{ActivityId, OrderId};

use crate::http::Method;

/// What a path names. A malformed id still matches its route and is answered 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Time,
    Activities,
    Activity(Option<ActivityId>),
    Tickets(Option<ActivityId>),
    Challenge(Option<ActivityId>),
    Orders,
    Order(Option<OrderId>),
    OrderEvents(Option<OrderId>),
    Shop,
    Ping,
    Healthz,
    Readyz,
    Metrics,
}

impl Route {
    pub(crate) fn find(path: &str) -> Option<Self> {
        let Some(path) = path.strip_prefix("/api/v1/") else {
            return match path {
                "/" => Some(Self::Shop),
                "/ping" => Some(Self::Ping),
                "/healthz" => Some(Self::Healthz),
                "/readyz" => Some(Self::Readyz),
                "/metrics" => Some(Self::Metrics),
                _ => None,
            };
        };
        if path == "time" {
            return Some(Self::Time);
        }
        let mut parts = path.strip_prefix("seckill/")?.split('/');
        match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            ("orders", None, None, None) => Some(Self::Orders),
            ("orders", Some(id), None, None) if !id.is_empty() => Some(Self::Order(id.parse().ok())),
            ("orders", Some(id), Some("events"), None) => Some(Self::OrderEvents(id.parse().ok())),
            ("activities", None, None, None) => Some(Self::Activities),
            ("activities", Some(id), None, None) if !id.is_empty() => Some(Self::Activity(id.parse().ok())),
            ("activities", Some(id), Some("tickets"), None) => Some(Self::Tickets(id.parse().ok())),
            ("activities", Some(id), Some("challenge"), None) => Some(Self::Challenge(id.parse().ok())),
            _ => None,
        }
    }

    /// The value of `Allow`.
    pub(crate) const fn allow(self) -> &'static str {
        match self {
            Self::Orders | Self::Tickets(_) => "POST, OPTIONS",
            Self::Time
            | Self::Activities
            | Self::Activity(_)
            | Self::Challenge(_)
            | Self::Order(_)
            | Self::OrderEvents(_)
            | Self::Shop
            | Self::Ping
            | Self::Healthz
            | Self::Readyz
            | Self::Metrics => "GET, HEAD, OPTIONS",
        }
    }

    pub(crate) fn takes(self, method: Method) -> bool {
        match method {
            Method::Get | Method::Head => !self.is_posted_to(),
            Method::Post => self.is_posted_to(),
            Method::Options => true,
            Method::Other => false,
        }
    }

    const fn is_posted_to(self) -> bool {
        matches!(self, Self::Orders | Self::Tickets(_))
    }

    /// For operators and their tools; not limited.
    pub(crate) const fn is_operational(self) -> bool {
        match self {
            Self::Ping | Self::Healthz | Self::Readyz | Self::Metrics => true,
            Self::Time
            | Self::Activities
            | Self::Activity(_)
            | Self::Tickets(_)
            | Self::Challenge(_)
            | Self::Orders
            | Self::Order(_)
            | Self::OrderEvents(_)
            | Self::Shop => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path of each route in the OpenAPI document. A new route does not compile without one.
    fn documented(route: Route) -> &'static str {
        match route {
            Route::Time => "/api/v1/time",
            Route::Activities => "/api/v1/seckill/activities",
            Route::Activity(_) => "/api/v1/seckill/activities/{activity_id}",
            Route::Tickets(_) => "/api/v1/seckill/activities/{activity_id}/tickets",
            Route::Challenge(_) => "/api/v1/seckill/activities/{activity_id}/challenge",
            Route::Orders => "/api/v1/seckill/orders",
            Route::Order(_) => "/api/v1/seckill/orders/{order_id}",
            Route::OrderEvents(_) => "/api/v1/seckill/orders/{order_id}/events",
            Route::Shop => "/",
            Route::Ping => "/ping",
            Route::Healthz => "/healthz",
            Route::Readyz => "/readyz",
            Route::Metrics => "/metrics",
        }
    }

    /// How many arms [`documented`] has.
    const ROUTES: usize = 13;

    #[test]
    fn the_document_has_every_route_and_no_other_path() {
        let document: serde_json::Value = serde_json::from_str(crate::OPENAPI).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), ROUTES);
        for path in paths.keys() {
            let real = path.replace("{activity_id}", "7").replace("{order_id}", "7");
            let route = Route::find(&real).unwrap_or_else(|| panic!("{path} is not a route"));
            assert_eq!(documented(route), path);
        }
    }

    #[test]
    fn paths() {
        let order = OrderId::from_i64(7);
        for (path, expect) in [
            ("/ping", Some(Route::Ping)),
            ("/api/v1/time", Some(Route::Time)),
            ("/api/v1/seckill/orders", Some(Route::Orders)),
            ("/api/v1/seckill/orders/7", Some(Route::Order(order))),
            ("/api/v1/seckill/orders/07", Some(Route::Order(None))),
            ("/api/v1/seckill/orders/7/events", Some(Route::OrderEvents(order))),
            ("/api/v1/seckill/activities/x", Some(Route::Activity(None))),
            ("/api/v1/seckill/activities/7/tickets", Some(Route::Tickets(ActivityId::from_i64(7)))),
            ("/api/v1/seckill/activities/7/challenge", Some(Route::Challenge(ActivityId::from_i64(7)))),
            ("/api/v1/seckill/activities//tickets", Some(Route::Tickets(None))),
            ("/api/v1/seckill/activities/7/tickets/1", None),
            ("/api/v1/seckill/orders/", None),
            ("/api/v1/seckill/orders/7/", None),
            ("/api/v1/seckill/orders/7/events/1", None),
            ("/api/v1/seckill", None),
            ("//ping", None),
            ("/", Some(Route::Shop)),
        ] {
            assert_eq!(Route::find(path), expect, "{path}");
        }
    }
}
