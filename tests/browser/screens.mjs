// Every page in every look: a picture of it, what axe finds, what moves, how soon it is there.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";

const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1366, height: 768 } };
const LCP_MAX_MS = 1000;
const SETTLE_MS = 500;
const WATCH_MS = 2500;

const looks = Object.keys(SIZES).flatMap((size) => ["light", "dark"].map((scheme) => [`pages are accessible: ${size}, ${scheme}`, (world) => look(world, size, scheme)]));

async function look({ mall, open }, size, scheme) {
  const ada = await open({ viewport: SIZES[size], colorScheme: scheme, locale: scheme === "dark" ? "en-GB" : "zh-CN" });
  const { page } = ada;
  const faults = [];
  mkdirSync(process.env.SCREENS, { recursive: true });
  const shot = async (name, path) => {
    if (path) await ada.go(path);
    await page.waitForTimeout(SETTLE_MS);
    await page.screenshot({ path: join(process.env.SCREENS, `${name}-${size}-${scheme}.png`) });
    const { violations } = await new AxeBuilder({ page }).analyze();
    for (const { id, impact, nodes } of violations) {
      if (["serious", "critical"].includes(impact)) faults.push(`${name}: ${id}: ${nodes[0].html}`);
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) faults.push(`${name}: ${wide} px too wide`);
  };
  const products = await mall.products();
  const flagship = products.find((one) => one.title.includes("X1 Pro"));
  const activities = (await (await fetch(`${mall.gateway}/api/v1/seckill/activities?limit=100`)).json()).items;
  const sale = (state) => activities.find((one) => one.state === state)?.activity_id;
  await shot("home", "/");
  await shot("category", `/category/${flagship.category_id}`);
  await shot("search", "/search?q=phone");
  await shot("product", `/product/${flagship.product_id}`);
  await shot("not-found", "/product/1");
  if (sale("scheduled")) await shot("sale-scheduled", `/sale/${sale("scheduled")}`);
  if (sale("sold_out")) await shot("sale-sold-out", `/sale/${sale("sold_out")}`);
  await shot("sale-open", `/sale/${await mall.sale({ title: `一元秒杀 / One yuan, ${size} ${scheme}`, stock: 9 })}`);
  await shot("sign-in", "/sign-in");
  await shot("register", "/sign-in?mode=register");
  const name = `look${size}${scheme}`;
  await page.locator("input[name=username]").fill(name);
  await page.locator("input[name=password]").fill("correct-horse");
  await page.locator("form.form button[type=submit]").click();
  await page.waitForURL(`${mall.shop}/`);
  await shot("cart-empty", "/cart");
  await shot("orders-empty", "/orders");
  await ada.go(`/product/${flagship.product_id}`);
  await page.locator(".buy-row button").first().click();
  await page.locator(".toast").waitFor();
  await shot("cart", "/cart");
  await ada.go("/checkout");
  await page.locator(".panel > .stack > .button").first().click();
  await shot("address");
  for (const [field, value] of [["recipient", "林小满"], ["phone", "13800138000"], ["region", "上海市徐汇区"], ["detail", "漕溪北路 88 号"]]) await page.locator(`dialog input[name=${field}]`).fill(value);
  await page.locator("dialog button[type=submit]").click();
  await page.locator(".address").waitFor();
  await shot("checkout");
  await page.locator(".summary .button.primary").click();
  await page.waitForURL(/\/pay\/\d+$/);
  await shot("pay");
  await shot("orders", "/orders");
  await page.locator(".order-body").first().click();
  await shot("order");
  await shot("account", "/account");
  await page.route("**/api/v1/products*", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"code":"unavailable"}' }));
  await ada.go(`/category/${flagship.category_id}`);
  await page.locator(".empty").waitFor({ timeout: 20_000 });
  await shot("error");
  assert.deepEqual(faults, []);
}

const OBSERVE = `globalThis.shifts = 0; globalThis.lcp = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) shifts += entry.value; }).observe({ type: "layout-shift", buffered: true });
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) lcp = entry.startTime; }).observe({ type: "largest-contentful-paint", buffered: true });`;

async function countdownsMoveNothing({ mall, open }) {
  const sale = await mall.sale({ title: "Still", stock: 9, startsIn: 60_000 });
  const ada = await open({ init: OBSERVE });
  for (const path of [`/sale/${sale}`, "/"]) {
    await ada.go(path);
    await ada.page.waitForTimeout(1500);
    const before = await ada.page.evaluate(() => shifts);
    await ada.page.waitForTimeout(WATCH_MS);
    assert.equal(await ada.page.evaluate(() => shifts), before, `${path} moves while its countdown runs`);
  }
}

async function isThereSoon({ open }) {
  const ada = await open({ init: OBSERVE });
  const times = [];
  for (let i = 0; i < 3; i++) {
    await ada.go("/");
    await ada.page.waitForTimeout(1500);
    times.push(await ada.page.evaluate(() => lcp));
  }
  const best = Math.min(...times);
  console.log(`       largest contentful paint after ${times.map(Math.round).join(", ")} ms`);
  assert.ok(best > 0 && best < LCP_MAX_MS, `${best} ms`);
}

export const screens = [...looks, ["countdowns move nothing", countdownsMoveNothing], ["the first page is there within a second", isThereSoon]];
