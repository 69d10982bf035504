// A shopper and a member of staff go through the mall with clients that are generated from its OpenAPI documents.
//
//   node walk.js GATEWAY ORDER_CORE ADMIN ADMIN_PASSWORD

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths as AdminPaths } from "./admin.js";
import type { paths as GatewayPaths } from "./gateway.js";
import type { paths as ShopPaths } from "./order-core.js";

const WAIT_MAX_MS = 60_000;
const WAIT_STEP_MS = 200;
const PASSWORD = "correct horse battery";

const [gatewayUrl, shopUrl, adminUrl, adminPassword] = process.argv.slice(2);
assert(gatewayUrl && shopUrl && adminUrl && adminPassword, "walk.js GATEWAY ORDER_CORE ADMIN ADMIN_PASSWORD");
const gateway = createClient<GatewayPaths>({ baseUrl: gatewayUrl });
const shop = createClient<ShopPaths>({ baseUrl: shopUrl });
const admin = createClient<AdminPaths>({ baseUrl: adminUrl });

interface Outcome<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The body of an answer, which must not be a problem. */
function body<T>({ data, error, response }: Outcome<T>): T {
  assert(data !== undefined, `${response.url}: ${response.status} ${JSON.stringify(error)}`);
  return data;
}

/** Calls `step` until it returns something. */
async function wait<T>(what: string, step: () => Promise<T | undefined>): Promise<T> {
  for (let waited = 0; waited < WAIT_MAX_MS; waited += WAIT_STEP_MS) {
    const found = await step();
    if (found !== undefined) return found;
    await new Promise((done) => setTimeout(done, WAIT_STEP_MS));
  }
  throw new Error(`${what}: it took more than ${WAIT_MAX_MS} ms`);
}

/** Sends the form of the mock platform's page, as the buyer's browser would. */
async function pay(orderId: string): Promise<void> {
  const path = { order_id: orderId };
  const payment = body(await shop.POST("/api/v1/orders/{order_id}/payments", { params: { path }, body: { method: "mock" } }));
  const page = new URL(payment.pay_url);
  const form = new URLSearchParams({ request: page.search.slice(1) });
  const answer = await fetch(`${page.origin}${page.pathname}/pay`, { method: "POST", body: form, redirect: "manual" });
  assert(answer.status < 400, `${page.pathname}/pay: ${answer.status}`);
  await wait("the payment", async () => {
    const order = body(await shop.GET("/api/v1/orders/{order_id}", { params: { path } }));
    return order.status === "paid" ? order : undefined;
  });
}

const credentials = { username: "typescript", password: PASSWORD };
const user = body(await shop.POST("/api/v1/users", { body: credentials }));
const session = body(await shop.POST("/api/v1/sessions", { body: credentials }));
const authorization = `Bearer ${session.access_token}`;
for (const client of [shop, gateway]) {
  client.use({
    onRequest({ request }) {
      request.headers.set("Authorization", authorization);
    },
  });
}
assert.equal(body(await shop.GET("/api/v1/users/me")).user_id, user.user_id);

// Search, cart, order, pay.
const shelf = body(await shop.GET("/api/v1/products", { params: { query: { limit: 1 } } }));
const product = shelf.items[0];
assert(product, "the demonstration shop has products");
const found = await wait("the search", async () => {
  const { data } = await shop.GET("/api/v1/search", { params: { query: { q: product.title } } });
  return data?.items.find((item) => item.product_id === product.product_id);
});
const detail = body(await shop.GET("/api/v1/products/{product_id}", { params: { path: { product_id: found.product_id } } }));
const sku = detail.skus[0];
assert(sku, "the product has a SKU");
const cart = body(await shop.POST("/api/v1/cart/items", { body: { sku_id: sku.sku_id, quantity: 2 } }));
assert.equal(cart.items.length, 1);
assert.equal(cart.total_cents, 2 * sku.price_cents);
const where = { recipient: "Alice", phone: "13800138000", region: "Shanghai", detail: "1 Nanjing Road" };
const address = body(await shop.POST("/api/v1/addresses", { body: where }));
const order = body(
  await shop.POST("/api/v1/orders", {
    params: { header: { "Idempotency-Key": "first" } },
    body: { address_id: address.address_id, from_cart: true, expected_total_cents: cart.total_cents },
  }),
);
assert.equal(order.total_cents, cart.total_cents);
await pay(order.order_id);

// A flash sale: staff plans and opens it, the shopper buys from it and pays.
const staff = body(await admin.POST("/admin/api/v1/sessions", { body: { username: "admin", password: adminPassword } }));
admin.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${staff.access_token}`);
  },
});
const sale = body(
  await admin.POST("/admin/api/v1/activities", {
    params: { header: { "Idempotency-Key": "sale" } },
    body: {
      title: "TypeScript",
      sku_id: sku.sku_id,
      price_cents: 100,
      stock: 5,
      per_user_limit: 2,
      starts_at: new Date(Date.now() - 60_000).toISOString(),
      ends_at: new Date(Date.now() + 3_600_000).toISOString(),
    },
  }),
);
const id = sale.activity_id;
body(await admin.POST("/admin/api/v1/activities/{id}/warm", { params: { path: { id } } }));
await wait("the sale", async () => {
  const { data } = await gateway.GET("/api/v1/seckill/activities/{activity_id}", { params: { path: { activity_id: id } } });
  return data?.state === "open" ? data : undefined;
});
const unit = body(
  await gateway.POST("/api/v1/seckill/orders", {
    params: { header: { "Idempotency-Key": "unit" } },
    body: { activity_id: id, quantity: 1 },
  }),
);
const refused = await gateway.POST("/api/v1/seckill/orders", {
  params: { header: { "Idempotency-Key": "two-more" } },
  body: { activity_id: id, quantity: 2 },
});
assert.equal(refused.error?.code, "limit_reached");
await wait("the flash order", async () => {
  const { data } = await gateway.GET("/api/v1/seckill/orders/{order_id}", { params: { path: { order_id: unit.order_id } } });
  return data?.status === "created" ? data : undefined;
});
const flashPath = { order_id: unit.order_id };
body(await shop.PUT("/api/v1/orders/{order_id}/address", { params: { path: flashPath }, body: { address_id: address.address_id } }));
await pay(unit.order_id);
const sold = await wait("the ledger", async () => {
  const { data } = await admin.GET("/admin/api/v1/activities/{id}/audit", { params: { path: { id } } });
  return data?.sold === 1 ? data : undefined;
});
assert.equal(sold.total, sale.stock);
