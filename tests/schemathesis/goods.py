"""What Schemathesis finds in the mall: a shopper, an admin, an address, orders as they come to stand.

goods.py SHOP ADMIN PASSWORD DIR writes the configurations beside it into DIR, with these in them.
"""

import base64
import hashlib
import hmac
import json
import string
import sys
import time
from pathlib import Path

import requests

shop, admin, password, filled = sys.argv[1:]
shop += "/api/v1"
admin += "/admin/api/v1"


def ask(method, url, token=None, **more):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.request(method, url, headers=headers, timeout=10, **more)
    assert answer.ok, f"{method} {url}: {answer.status_code} {answer.text}"
    return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text


def order(token, address, sku):
    body = {"address_id": address, "items": [{"sku_id": sku, "quantity": 1}]}
    return ask("POST", f"{shop}/orders", token, json=body)["order_id"]


def paid(token, address, sku):
    made = order(token, address, sku)
    url = ask("POST", f"{shop}/orders/{made}/payments", token, json={"method": "mock"})["pay_url"]
    where, request = url.split("?", 1)
    requests.post(f"{where}/pay", data={"request": request}, allow_redirects=False, timeout=10).raise_for_status()
    for _ in range(100):
        if ask("GET", f"{shop}/orders/{made}", token)["status"] == "paid":
            return made
        time.sleep(0.1)
    raise SystemExit(f"order {made} is not paid")


def signed(user):
    """A token of `user` that signing out does not end: it belongs to no session, and was signed after every sign-out."""
    later = int(time.time()) + 24 * 3600
    claims = {"iss": "mall", "aud": "shopper", "sub": user, "iat": later, "exp": later}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    secret = (Path(filled) / "data" / "shopper-secret").read_bytes().strip()
    mac = base64.urlsafe_b64encode(hmac.digest(secret, text, hashlib.sha256)).rstrip(b"=")
    return (text + b"." + mac).decode()


credentials = {"username": "schemathesis", "password": password}
user = ask("POST", f"{shop}/users", json=credentials)["user_id"]
ask("POST", f"{shop}/sessions", json=credentials)
shopper = signed(user)
staff = ask("POST", f"{admin}/sessions", json={"username": "admin", "password": password})["access_token"]
product = ask("GET", f"{shop}/products")["items"][0]
sku = ask("GET", f"{shop}/products/{product['product_id']}")["skus"][0]["sku_id"]
where = {"recipient": "王小明", "phone": "1", "region": "杭州", "detail": "一号 🏠"}
address = ask("POST", f"{shop}/addresses", shopper, json=where)["address_id"]
later = {"title": "晚些", "sku_id": sku, "price_cents": 1, "stock": 1, "per_user_limit": 1}
later |= {"starts_at": "2100-01-01T00:00:00Z", "ends_at": "2100-01-02T00:00:00Z"}
found = {
    "SHOPPER_TOKEN": shopper,
    "ADMIN_TOKEN": staff,
    "USER_ID": user,
    "CATEGORY_ID": product["category_id"],
    "PRODUCT_ID": product["product_id"],
    "SKU_ID": sku,
    "ADDRESS_ID": address,
    "ACTIVITY_ID": ask("GET", f"{admin}/activities", staff)["items"][0]["activity_id"],
    "LATER_ACTIVITY_ID": ask("POST", f"{admin}/activities", staff, json=later)["activity_id"],
    "ORDER_ID": order(shopper, address, sku),
    "CANCELLED_ORDER_ID": order(shopper, address, sku),
    "PAID_ORDER_ID": paid(shopper, address, sku),
    "SHIPPED_ORDER_ID": paid(shopper, address, sku),
}
for refunded in ("APPROVED_REFUND_ID", "REFUSED_REFUND_ID"):
    found[refunded] = paid(shopper, address, sku)
    ask("POST", f"{shop}/orders/{found[refunded]}/refunds", shopper, json={"reason": "太大"})
for config in Path(__file__).parent.glob("*.toml"):
    text = string.Template(config.read_text()).substitute(found)
    (Path(filled) / config.name).write_text(text)
