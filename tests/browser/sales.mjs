// Flash sales: the last unit, reloads, lost networks, wrong clocks.

import assert from "node:assert/strict";
import { PAY_WITHIN_MS, sleep } from "./mall.mjs";

const HOUR_MS = 3_600_000;
/** What browsers' own tools call fast 3G. */
const SLOW_PHONE = { offline: false, latency: 560, downloadThroughput: 180_000, uploadThroughput: 84_000 };

/** The page's scripts believe that it is an hour later. */
const AN_HOUR_LATE = `{ const late = ${HOUR_MS}; const real = Date; const now = () => real.now() + late;
  globalThis.Date = class extends real { constructor(...args) { args.length ? super(...args) : super(now()); } static now() { return now(); } }; }`;

/** What a script sees of a device that slept for `slept` ms: the wall clock has gone on, the monotonic one has not. */
const SLEEPS = `{ const real = performance.now.bind(performance); globalThis.slept = 0; performance.now = () => real() - globalThis.slept; }`;

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

async function refusalOutlastsOlderReads({ mall, open }) {
  const sale = await mall.sale({ title: "Older reads", stock: 1 });
  const [ada, winner] = [await (await open()).register(), await (await open()).register()];
  await winner.go(`/sale/${sale}`);
  await winner.sees("On now");
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  // A read from before the last unit went, whose answer arrives after the refusal.
  let [wasRead, release, reads] = [null, null, 0];
  const read = new Promise((done) => (wasRead = done));
  const refused = new Promise((done) => (release = done));
  await ada.page.route(`**/activities/${sale}`, async (route) => {
    const answer = await route.fetch();
    if (reads++ === 0) {
      wasRead();
      await refused;
    }
    await route.fulfill({ response: answer });
  });
  await read;
  await winner.button("Buy now").click();
  await winner.sees("It is yours!");
  await ada.page.evaluate(() => {
    const panel = document.querySelector(".sale-panel");
    globalThis.states = [];
    new MutationObserver(() => states.push(panel.dataset.state)).observe(panel, { attributes: true, attributeFilter: ["data-state"] });
  });
  await ada.button("Buy now").click();
  await ada.sees("Sold out");
  release();
  while (reads < 3) await sleep(50);
  const states = await ada.page.evaluate(() => [...new Set(states)]);
  assert.deepEqual(states, ["asking", "sold_out"]);
  await ada.page.unrouteAll({ behavior: "wait" });
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
  let streams = 0;
  ada.context.on("request", (request) => request.url().endsWith("/events") && streams++);
  await ada.sees("On now", 5000, other);
  // The click of one tab may have taken the button from the other one before its own click.
  const late = other.getByRole("button", { name: "Buy now" }).click({ timeout: 1000 }).catch(() => {});
  await Promise.all([ada.button("Buy now").click({ timeout: 1000 }).catch(() => {}), late]);
  await ada.sees("It is yours!");
  await ada.sees("It is yours!", 2000, other);
  assert.equal((await ada.orders()).length, 1);
  assert.equal(streams, 1, "the tabs share one stream");
}

async function knowsTheTime({ mall, open }) {
  const startsIn = 6000;
  const sale = await mall.sale({ title: "Coming", stock: 9, startsIn });
  const starts = await mall.startOf(sale);
  const ada = await (await open({ init: AN_HOUR_LATE })).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("Not started yet");
  await ada.page.locator(".cells[title]").waitFor();
  const cells = (await ada.page.locator(".cells").getAttribute("title")).split(":").map(Number);
  const left = (starts - Date.now()) / 1000;
  assert.ok(cells[0] === 0 && Math.abs(cells[1] - left) < 1.6, `${cells} is shown, ${left} s are left`);
  await ada.sees("On now", startsIn + 2000);
  const late = Date.now() - starts;
  assert.ok(Math.abs(late) < 1000, `it starts ${late} ms late`);
  await ada.button("Buy now").click();
  await ada.sees("It is yours!");
}

async function wakesUpInTime({ mall, open }) {
  const startsIn = 14_000;
  const sale = await mall.sale({ title: "Asleep", stock: 9, startsIn });
  const starts = await mall.startOf(sale);
  const ada = await (await open({ init: SLEEPS })).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("Not started yet");
  await ada.page.locator(".cells[title]").waitFor();
  await ada.page.evaluate(() => (globalThis.slept = 8000));
  await ada.page.waitForTimeout(2500);
  const cells = (await ada.page.locator(".cells").getAttribute("title")).split(":").map(Number);
  const left = (starts - Date.now()) / 1000;
  assert.ok(cells[0] === 0 && Math.abs(cells[1] - left) < 1.6, `${cells} is shown, ${left} s are left`);
  await ada.sees("On now", startsIn + 2000);
  const late = Date.now() - starts;
  assert.ok(Math.abs(late) < 1000, `it starts ${late} ms late`);
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

async function takesTheRightAnswer({ mall, open }) {
  const sale = await mall.sale({ title: "Captcha", stock: 9, captcha: true, requires_ticket: true });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  // The picture is the gateway's; the challenge that comes with it is one whose answer is known.
  await ada.page.route(`**/activities/${sale}/challenge`, async (route) => {
    const answer = await route.fetch();
    const token = route.request().headers().authorization.split(".")[1];
    const { sub } = JSON.parse(Buffer.from(token, "base64url"));
    await route.fulfill({ response: answer, headers: { ...answer.headers(), challenge: mall.challenge(sale, sub, "AB3XY") } });
  });
  await ada.button("Buy now").click();
  await ada.page.getByLabel("Characters").fill("ab3xy");
  await ada.button("Send").click();
  await ada.sees("It is yours!");
  assert.equal((await ada.orders()).length, 1);
}

async function worksOnASlowPhone({ mall, open }) {
  const ada = await (await open()).register();
  const network = await ada.context.newCDPSession(ada.page);
  await network.send("Network.emulateNetworkConditions", SLOW_PHONE);
  const startsIn = 12_000;
  const sale = await mall.sale({ title: "Slow", stock: 9, startsIn });
  const starts = await mall.startOf(sale);
  await ada.go(`/sale/${sale}`);
  await ada.sees("Not started yet");
  await ada.page.locator(".cells[title]").waitFor();
  await ada.sees("On now", startsIn + 5000);
  const late = Date.now() - starts;
  assert.ok(Math.abs(late) < 1000, `it starts ${late} ms late`);
  await ada.button("Buy now").click();
  const asked = await Promise.race([ada.sees("Sending your request").catch(() => 0), ada.sees("You are in the queue").catch(() => 0)]);
  assert.ok(asked < 500, `the click is answered after ${asked} ms`);
  await ada.sees("It is yours!");
  await ada.page.locator(".sale-state .countdown").waitFor();
}

async function learnsTheTimeToPay({ mall, open }) {
  const sale = await mall.sale({ title: "Late row", stock: 9 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  // The gateway knows the order before order-core has its row.
  let early = 3;
  await ada.page.route(/\/api\/v1\/orders\/\d+$/, (route) => (early-- > 0
    ? route.fulfill({ status: 404, contentType: "application/problem+json", body: '{"status":404,"code":"not_found"}' })
    : route.continue()));
  await ada.button("Buy now").click();
  await ada.sees("It is yours!");
  const left = await ada.page.locator(".sale-state .countdown").textContent({ timeout: 6000 });
  assert.match(left, /^00:[01]\d$/);
  assert.ok(early < 0);
}

async function pollsWithoutAStream({ mall, open }) {
  const sale = await mall.sale({ title: "No stream", stock: 9 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  let streams = 0;
  await ada.page.route("**/api/v1/seckill/orders/*/events", (route) => {
    streams++;
    return route.fulfill({ status: 503, headers: { "access-control-allow-origin": mall.shop } });
  });
  await ada.button("Buy now").click();
  await ada.sees("It is yours!");
  assert.ok(streams >= 1);
}

async function stopsWaiting({ mall, open }) {
  const sale = await mall.sale({ title: "Silence", stock: 9 });
  const ada = await (await open()).register();
  await ada.page.clock.install();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  const keys = new Set();
  await ada.page.route("**/api/v1/seckill/orders", (route) => {
    if (route.request().method() !== "POST") return route.continue();
    keys.add(route.request().headers()["idempotency-key"]);
    return route.abort();
  });
  await ada.button("Buy now").click();
  await ada.sees("No network");
  // A minute of the page's time, in steps that let each try end.
  for (let s = 0; s < 70 && !(await ada.page.locator('[data-state="again"]').count()); s += 2) await ada.page.clock.runFor(2000);
  await ada.sees("No answer yet");
  await ada.page.unrouteAll({ behavior: "ignoreErrors" });
  await ada.button("Try again").click();
  await ada.page.clock.runFor(2000);
  await ada.sees("It is yours!");
  assert.equal(keys.size, 1);
  assert.equal((await ada.orders()).length, 1);
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
  ["a refusal outlasts what was read before it", refusalOutlastsOlderReads],
  ["a reload and a lost answer make no second order", survivesReloads],
  ["a click without a network is carried out once it is back", survivesOffline],
  ["two tabs of one shopper agree", tabsAgree],
  ["a clock that is an hour wrong changes nothing", knowsTheTime],
  ["a device that slept shows the right time", wakesUpInTime],
  ["a sale asks for a captcha", asksForACaptcha],
  ["the right answer to a captcha buys", takesTheRightAnswer],
  ["the time to pay is shown once the order is written", learnsTheTimeToPay],
  ["a phone with the latency of 3G buys in time", worksOnASlowPhone],
  ["a sale is paused, resumed and ended", isPausedAndEnded],
  ["without a stream the outcome is polled", pollsWithoutAStream],
  ["nobody waits for ever", stopsWaiting],
  ["a busy gateway is asked again, with the same key, when it said", retriesWithTheSameKey],
];
