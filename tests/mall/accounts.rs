//! Passwords and blocked shoppers, as order-core and the gateway notice them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Shop, call, until};

/// Until every core of a gateway knows that a token was cut. The goal is 200 ms; a busy machine takes longer.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// A shopper of the test.
struct Shopper<'a> {
    shop: &'a Shop,
    user: String,
    name: String,
}

impl<'a> Shopper<'a> {
    fn register(shop: &'a Shop, name: String) -> Self {
        let credentials = json!({ "username": name, "password": "correct horse" });
        let (status, user) = call("POST", &format!("{}/api/v1/users", shop.order_core), None, &credentials);
        assert_eq!(status, 201, "{user}");
        Self { shop, user: user["user_id"].as_str().unwrap().to_owned(), name }
    }

    fn sign_in(&self, password: &str) -> (u16, Value) {
        let credentials = json!({ "username": self.name, "password": password });
        call("POST", &format!("{}/api/v1/sessions", self.shop.order_core), None, &credentials)
    }

    fn token(&self, password: &str) -> String {
        let (status, session) = self.sign_in(password);
        assert_eq!(status, 200, "{session}");
        session["access_token"].as_str().unwrap().to_owned()
    }

    /// What order-core says to the token.
    fn profile(&self, token: &str) -> u16 {
        call("GET", &format!("{}/api/v1/users/me", self.shop.order_core), Some(token), &Value::Null).0
    }

    /// What a gateway says to the token.
    fn buy(&self, token: &str, activity: &str) -> u16 {
        let order = json!({ "activity_id": activity, "quantity": 1 });
        call("POST", &format!("{}/api/v1/seckill/orders", self.shop.gateway), Some(token), &order).0
    }

    /// Every core refuses the token soon.
    fn is_refused_soon(&self, what: &str, token: &str, activity: &str) {
        let begun = Instant::now();
        until(what, || (0..8).all(|_| self.buy(token, activity) == 401));
        let took = begun.elapsed();
        eprintln!("{what}: {took:?}");
        assert!(took < KNOWN_WITHIN, "{what}: {took:?}");
    }
}

/// A password is changed, a shopper is blocked. The token of the blocked one, for [`is_still_refused`].
pub(crate) fn accounts(shop: &Shop) -> (String, String) {
    let activity = shop.sale(100);
    let ada = Shopper::register(shop, format!("ada-{activity}"));
    let (own, other) = (ada.token("correct horse"), ada.token("correct horse"));
    assert_eq!((ada.buy(&own, &activity), ada.buy(&other, &activity)), (202, 202));
    let change = json!({ "old_password": "correct horse", "new_password": "a better horse" });
    let url = format!("{}/api/v1/users/me/password", shop.order_core);
    assert_eq!(call("POST", &url, Some(&own), &change).0, 204);
    assert_eq!((ada.profile(&own), ada.profile(&other)), (200, 401), "order-core knows at once");
    ada.is_refused_soon("the other session's token is refused", &other, &activity);
    assert_eq!(ada.buy(&own, &activity), 202, "the session that changed the password goes on");
    assert_eq!(ada.sign_in("correct horse").0, 401);

    let eva = Shopper::register(shop, format!("eva-{activity}"));
    let token = eva.token("correct horse");
    assert_eq!(eva.buy(&token, &activity), 202);
    shop.admin_post(&format!("/users/{}/block", eva.user), json!({}));
    assert_eq!(eva.profile(&token), 401, "order-core knows at once");
    eva.is_refused_soon("the blocked shopper is refused", &token, &activity);
    assert_eq!(eva.sign_in("correct horse").0, 403);
    shop.admin_post(&format!("/users/{}/unblock", eva.user), json!({}));
    let again = eva.token("correct horse");
    assert_eq!((eva.buy(&again, &activity), eva.buy(&token, &activity)), (202, 401), "a new session is good");

    let link = shop.admin_post(&format!("/users/{}/reset-link", ada.user), json!({}));
    let reset = json!({ "token": link["token"], "new_password": "the best horse" });
    assert_eq!(call("POST", &format!("{}/api/v1/users/reset", shop.order_core), None, &reset).0, 204);
    ada.is_refused_soon("the token from before the reset is refused", &own, &activity);
    assert_eq!(ada.buy(&ada.token("the best horse"), &activity), 202);
    (token, activity)
}

/// A gateway that starts has read every cut before it is ready.
pub(crate) fn is_still_refused(shop: &Shop, (token, activity): &(String, String)) {
    let order = json!({ "activity_id": activity, "quantity": 1 });
    for _ in 0..8 {
        assert_eq!(call("POST", &format!("{}/api/v1/seckill/orders", shop.gateway), Some(token), &order).0, 401);
    }
}
