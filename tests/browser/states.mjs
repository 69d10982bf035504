// Every state of the sale page in every look. States that last too short for a picture, or need a crowd, are made by
// answers of the test in the gateway's place.

import assert from "node:assert/strict";
import { Camera, LOOKS } from "./camera.mjs";

const ORDERS = "**/api/v1/seckill/orders";
const HOUR_MS = 3_600_000;

async function look({ mall, open }, one) {
  const camera = await Camera.open(open, one);
  const ada = camera.shopper;
  const { page } = ada;
  const titled = (what) => ({ title: `${what} · 北辰 X1 Pro 限时抢 / ${what} · Beichen X1 Pro`, product: { sku: { sku_id: flagship.skus[0].sku_id } } });
  const [{ product_id: id }] = (await mall.products()).filter((product) => product.title.includes("X1 Pro"));
  const flagship = await (await fetch(`${mall.shop}/api/v1/products/${id}`)).json();
  const state = async (name) => {
    await page.locator(`.sale-panel[data-state="${name}"]`).waitFor();
    await camera.shot(`sale-${name}`);
  };
  const buy = () => page.locator(".sale-action button.primary").click();
  /** Answers the next orders in the gateway's place. */
  const answers = (status, code, headers = {}) => page.route(ORDERS, (route) => route.request().method() === "POST"
    ? route.fulfill({ status, contentType: "application/problem+json", body: JSON.stringify({ status, code }),
      headers: { "access-control-allow-origin": mall.shop, "access-control-expose-headers": "retry-after", ...headers } })
    : route.continue());

  const sale = await mall.sale({ ...titled("State"), stock: 2 });
  // The page believes the gateway's sale again a moment after a refusal, and in truth it is still open.
  const agreesThatNothingIsLeft = () => page.route(`**/activities/${sale}`, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...(await answer.json()), state: "sold_out", stock_left_band: "none" } });
  });
  await page.route(`**/activities/${sale}`, () => {});
  await camera.shot("sale-loading", `/sale/${sale}`);
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await camera.shot("sale-unknown", "/sale/1");
  await ada.go(`/sale/${await mall.sale({ ...titled("Soon"), stock: 2, startsIn: 26 * HOUR_MS, lasts: 30 * HOUR_MS })}`);
  await state("scheduled");
  await ada.go(`/sale/${sale}`);
  await page.locator('.sale-panel[data-state="ready"]').waitFor();
  await camera.shot("sale-signed-out");
  await ada.register();
  await ada.go(`/sale/${sale}`);
  await state("ready");

  for (const code of ["sold_out", "limit_reached", "not_eligible"]) {
    await answers(409, code);
    await buy();
    if (code === "sold_out") await agreesThatNothingIsLeft();
    await state(code);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await page.reload();
    await page.locator('.sale-panel[data-state="ready"]').waitFor();
  }
  await answers(503, "unavailable", { "retry-after": "8" });
  await buy();
  await state("busy");
  await page.unrouteAll({ behavior: "ignoreErrors" });

  // What another tab writes is shown here: the states of an order, without waiting for each.
  const entries = [["failed", { order_id: "1", status: "failed" }], ["closed", { order_id: "1", status: "closed" }], ["paid", { order_id: "1", status: "paid" }]];
  const own = await mall.sale({ ...titled("States"), stock: 2 });
  for (const [name, entry] of entries) {
    // A reload while the session is renewed would lose the next cookie.
    const renewed = page.waitForResponse("**/api/v1/sessions/refresh");
    await ada.go(`/sale/${own}`);
    await renewed;
    await page.locator(".sale-panel[data-state]").waitFor();
    await page.evaluate(([sale, text]) => {
      const user = Object.keys(localStorage).find((key) => key.startsWith("mall.sale.")).split(".")[2];
      localStorage.setItem(`mall.sale.${user}.${sale}`, text);
    }, [own, JSON.stringify(entry)]);
    await page.reload();
    await state(name);
  }

  const last = await mall.sale({ ...titled("Queue"), stock: 2 });
  await ada.go(`/sale/${last}`);
  await page.locator('.sale-panel[data-state="ready"]').waitFor();
  await page.route("**/api/v1/seckill/orders/*", (route) => route.fulfill({ status: 200, contentType: "application/json", body: '{"status":"queued"}',
    headers: { "access-control-allow-origin": mall.shop } }));
  await page.route("**/api/v1/seckill/orders/*/events", () => {});
  await page.route(ORDERS, () => {});
  await buy();
  await state("asking");
  await page.unroute(ORDERS);
  await page.reload();
  await state("queued");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.reload();
  await state("won");

  const steered = await mall.sale({ ...titled("Steered"), stock: 2, captcha: true, requires_ticket: true });
  await ada.go(`/sale/${steered}`);
  await page.locator('.sale-panel[data-state="ready"]').waitFor();
  await buy();
  await page.locator(".captcha-image").waitFor();
  await camera.shot("sale-captcha");
  await page.locator("dialog input").fill("wrong");
  await page.locator("dialog .primary").click();
  await page.locator("dialog .form-error").waitFor();
  await camera.shot("sale-captcha-wrong");
  await page.keyboard.press("Escape");
  await mall.call(`/activities/${steered}/pause`);
  await state("paused");
  await mall.call(`/activities/${steered}/end`);
  await state("ended");
  assert.deepEqual(camera.faults, []);
}

export const states = LOOKS.map((one) => [`every state of a sale can be seen: ${one.join(", ")}`, (world) => look(world, one)]);
