// Flash sales: the last unit, reloads, lost networks, wrong clocks.

import assert from "node:assert/strict";
import { PAY_WITHIN_MS, sleep } from "./mall.mjs";

const HOUR_MS = 3_600_000;

/** The page's scripts believe that it is an hour later. */
const AN_HOUR_LATE = `{ const late = ${HOUR_MS}; const real = Date; const now = () => real.now() + late;
  globalThis.Date = class extends real { constructor(...args) { args.length ? super(...args) : super(now()); } static now() { return now(); } }; }`;

async function lastUnit({ mall, open }) {
  const sale = await mall.sale({ title: "The last unit", stock: 1 });
  const shoppers = [await (await open()).register(), await (await open()).register()];
  for (const shopper of shoppers) {
    await shopper.go(`/sale/${sale}`);
    await shopper.sees("On now");
  }
  await Promise.all(shoppers.map((shopper) => shopper.button("Buy now").click()));
  const told = await Promise.all(shoppers.map((shopper) => Promise.race([
    shopper.sees("It is yours!").then((ms) => ["won", ms]), shopper.sees("Sold out").then((ms) => ["lost", ms])])));
  assert.deepEqual(told.map(([what]) => what).sort(), ["lost", "won"]);
  for (const [what, ms] of told) assert.ok(ms < 1000, `${what} after ${ms} ms`);
  const loser = shoppers[told.findIndex(([what]) => what === "lost")];
  const winner = shoppers[told.findIndex(([what]) => what === "won")];

  // The winner does not pay; the other one, who stayed, can buy.
  await winner.sees("Not paid in time", PAY_WITHIN_MS + 8000);
  await loser.sees("On now", 5000);
  await loser.button("Buy now").click();
  await loser.sees("It is yours!");
  await loser.page.getByRole("link", { name: "Pay now" }).click();
  await loser.payAtThePlatform();
  await loser.go(`/sale/${sale}`);
  await loser.sees("Paid");
  assert.deepEqual((await winner.orders()).map((order) => order.status), ["closed"]);
  assert.deepEqual((await loser.orders()).map((order) => order.status), ["paid"]);
}

async function survivesReloads({ mall, open }) {
  const sale = await mall.sale({ title: "Reloads", stock: 9 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  // The answer of the first request is lost: its connection ends after the gateway has the request.
  let lost = 0;
  await ada.page.route("**/api/v1/seckill/orders", async (route) => {
    if (route.request().method() !== "POST" || lost++ > 0) return route.continue();
    await route.fetch();
    await route.abort();
  });
  await ada.button("Buy now").click();
  await sleep(100);
  await ada.page.reload();
  await ada.sees("It is yours!");
  await ada.page.goto(`${mall.shop}/orders`);
  await ada.page.goBack();
  await ada.sees("It is yours!");
  assert.equal((await ada.orders()).length, 1);
  assert.ok(lost >= 1);
}

async function survivesOffline({ mall, open }) {
  const sale = await mall.sale({ title: "Offline", stock: 9 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  await ada.context.setOffline(true);
  await ada.button("Buy now").click();
  await ada.sees("No network");
  await ada.context.setOffline(false);
  await ada.sees("It is yours!", 15_000);
  assert.equal((await ada.orders()).length, 1);
}

async function tabsAgree({ mall, open }) {
  const sale = await mall.sale({ title: "Two tabs", stock: 9 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  const other = await ada.tab();
  await other.goto(`${mall.shop}/sale/${sale}`);
  await ada.sees("On now");
  await ada.sees("On now", 5000, other);
  // The click of one tab may have taken the button from the other one before its own click.
  const late = other.getByRole("button", { name: "Buy now" }).click({ timeout: 1000 }).catch(() => {});
  await Promise.all([ada.button("Buy now").click({ timeout: 1000 }).catch(() => {}), late]);
  await ada.sees("It is yours!");
  await ada.sees("It is yours!", 2000, other);
  assert.equal((await ada.orders()).length, 1);
}

async function knowsTheTime({ mall, open }) {
  const startsIn = 6000;
  const began = Date.now();
  const sale = await mall.sale({ title: "Coming", stock: 9, startsIn });
  const ada = await (await open({ init: AN_HOUR_LATE })).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("Not started yet");
  await ada.page.locator(".cells[title]").waitFor();
  const cells = (await ada.page.locator(".cells").getAttribute("title")).split(":").map(Number);
  const left = (began + startsIn - Date.now()) / 1000;
  assert.ok(cells[0] === 0 && Math.abs(cells[1] - left) < 1.6, `${cells} is shown, ${left} s are left`);
  await ada.sees("On now", startsIn + 2000);
  const late = Date.now() - began - startsIn;
  assert.ok(Math.abs(late) < 1000, `it starts ${late} ms late`);
  await ada.button("Buy now").click();
  await ada.sees("It is yours!");
}

async function asksForACaptcha({ mall, open }) {
  const sale = await mall.sale({ title: "Captcha", stock: 9, captcha: true, requires_ticket: true });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  await ada.button("Buy now").click();
  const image = ada.page.locator(".captcha-image");
  await image.waitFor();
  const first = await image.getAttribute("src");
  assert.ok(await image.evaluate((picture) => picture.decode().then(() => picture.naturalWidth > 50)));
  await ada.page.getByLabel("Characters").fill("wrong");
  await ada.button("Send").click();
  await ada.page.getByText("That was not it. Here is a new picture.").waitFor();
  assert.notEqual(await image.getAttribute("src"), first);
  await ada.page.keyboard.press("Escape");
  await ada.sees("On now");
  assert.equal((await ada.orders()).length, 0);
}

async function isPausedAndEnded({ mall, open }) {
  const sale = await mall.sale({ title: "Steered", stock: 9 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  await mall.call(`/activities/${sale}/pause`);
  await ada.sees("The sale is paused", 3000);
  await mall.call(`/activities/${sale}/resume`);
  await ada.sees("On now", 3000);
  await mall.call(`/activities/${sale}/end`);
  await ada.sees("The sale is over", 3000);
}

async function retriesWithTheSameKey({ mall, open }) {
  const sale = await mall.sale({ title: "Busy", stock: 9 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  const keys = [];
  const times = [];
  const busy = { status: 503, headers: { "retry-after": "1", "content-type": "application/problem+json", "access-control-allow-origin": mall.shop,
    "access-control-expose-headers": "retry-after" }, body: '{"status":503,"code":"unavailable"}' };
  await ada.page.route("**/api/v1/seckill/orders", (route) => {
    if (route.request().method() !== "POST") return route.continue();
    keys.push(route.request().headers()["idempotency-key"]);
    times.push(Date.now());
    return keys.length < 3 ? route.fulfill(busy) : route.continue();
  });
  await ada.button("Buy now").click();
  await ada.sees("Very busy");
  await ada.sees("It is yours!", 15_000);
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1, "one click is one key");
  for (let i = 1; i < times.length; i++) assert.ok(times[i] - times[i - 1] >= 1000, "Retry-After is respected");
  assert.equal((await ada.orders()).length, 1);
}

export const sales = [
  ["two fight for the last unit, and the other gets it after the timeout", lastUnit],
  ["a reload and a lost answer make no second order", survivesReloads],
  ["a click without a network is carried out once it is back", survivesOffline],
  ["two tabs of one shopper agree", tabsAgree],
  ["a clock that is an hour wrong changes nothing", knowsTheTime],
  ["a sale asks for a captcha", asksForACaptcha],
  ["a sale is paused, resumed and ended", isPausedAndEnded],
  ["a busy gateway is asked again, with the same key, when it said", retriesWithTheSameKey],
];
