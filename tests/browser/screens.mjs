// Every page in every look: a picture of it, what axe finds, what moves, how soon it is there.

import assert from "node:assert/strict";
import { Camera, LOOKS } from "./camera.mjs";

const LCP_MAX_MS = 1000;
const FIRST_PAGE_BYTES_MAX = 80 * 1024;
const WATCH_MS = 2500;

async function look({ mall, open }, one) {
  const camera = await Camera.open(open, one);
  const ada = camera.shopper;
  const { page } = ada;
  const shot = (name, path) => camera.shot(name, path);
  const products = await mall.products();
  const flagship = products.find((one) => one.title.includes("X1 Pro"));
  const refuse = (pattern) => page.route(pattern, (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"code":"unavailable"}' }));
  await page.route("**/api/v1/**", () => {});
  await shot("home-loading", "/");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await shot("home", "/");
  await page.locator(".card.product:not(.skeleton)").first().waitFor();
  await page.evaluate(() => document.querySelector("#categories").scrollIntoView());
  await shot("home-below");
  await shot("category", `/category/${flagship.category_id}`);
  await shot("search", "/search?q=phone");
  await shot("search-nothing", "/search?q=zzzzzz");
  await page.locator(".search input").fill("Be");
  await page.locator("#suggestions li").first().waitFor();
  await shot("suggestions");
  await refuse("**/api/v1/search?*");
  await ada.go("/search?q=phone");
  await page.locator(".empty").waitFor();
  await shot("search-away");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await shot("product", `/product/${flagship.product_id}`);
  await shot("not-found", "/product/1");
  await shot("sign-in", "/sign-in?next=%2Fcart");
  await page.locator("input[name=username]").fill("nobody");
  await page.locator("input[name=password]").fill("wrong-password");
  await page.locator("form.form button.primary").click();
  await page.locator(".form-error:not(:empty)").waitFor();
  await shot("sign-in-refused");
  await shot("register", "/sign-in?mode=register");
  await ada.register();
  await shot("cart-empty", "/cart");
  await shot("orders-empty", "/orders");
  await ada.go(`/product/${flagship.product_id}`);
  await page.locator(".buy-row button").first().click();
  await page.locator(".toast", { hasText: /added|已加入/i }).waitFor();
  await shot("product-added");
  await shot("cart", "/cart");
  await page.route("**/api/v1/cart", async (route) => {
    const answer = await route.fetch();
    const cart = await answer.json();
    const [line] = cart.items;
    const gone = { sku_id: "1", quantity: 1, state: "gone" };
    const states = [{ state: "price_changed", price_was_cents: line.price_cents + 100_00 }, { state: "insufficient_stock", stock: 1, quantity: 3 }];
    cart.items = [...states.map((state, index) => ({ ...line, ...state, sku_id: `${index + 2}` })), gone];
    await route.fulfill({ response: answer, json: cart });
  });
  await shot("cart-changed", "/cart");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await ada.go("/checkout");
  await page.locator(".panel > .stack > .button").first().click();
  await shot("address");
  for (const [field, value] of [["recipient", "林小满"], ["phone", "13800138000"], ["region", "上海市徐汇区"], ["detail", "漕溪北路 88 号"]]) await page.locator(`dialog input[name=${field}]`).fill(value);
  await page.locator("dialog button[type=submit]").click();
  await page.locator(".address").waitFor();
  await shot("checkout");
  await page.route("**/api/v1/orders", (route) => route.fulfill({ status: 409, contentType: "application/problem+json", body: '{"code":"too_many_unpaid"}' }));
  await page.locator(".summary .button.primary").click();
  const refused = page.locator(".dock .form-error:not(:empty)");
  await refused.waitFor();
  const box = await refused.boundingBox();
  assert.ok(box.y > 0 && box.y + box.height < page.viewportSize().height, "a refusal is in sight");
  await shot("checkout-refused");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.locator(".summary .button.primary").click();
  await page.waitForURL(/\/pay\/\d+$/);
  await shot("pay");
  const orders = page.url().replace("/pay/", "/orders/");
  await page.goto(orders);
  await shot("order");
  await page.goto(orders.replace("/orders/", "/pay/"));
  await page.locator("section .button.primary").click();
  await page.waitForURL(/mock-pay/);
  await shot("platform");
  await page.getByRole("button").first().click();
  await page.waitForURL(`${mall.shop}/pay/return`);
  await shot("pay-returned");
  await page.locator(".outcome.good").waitFor();
  await shot("pay-done");
  await page.goto(orders);
  await shot("order-paid");
  await page.locator(".summary .stack .button").last().click();
  await page.locator("dialog textarea").waitFor();
  await shot("refund");
  await page.locator("dialog .primary").click();
  await page.locator(".status-refunding").waitFor();
  await shot("order-refunding");
  await shot("orders", "/orders");
  await shot("account", "/account");
  await refuse("**/api/v1/products*");
  await ada.go(`/category/${flagship.category_id}`);
  await page.locator(".empty").waitFor({ timeout: 20_000 });
  await shot("error");
  assert.deepEqual(camera.faults, []);
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

async function isSmall({ open }) {
  const ada = await open();
  const network = await ada.context.newCDPSession(ada.page);
  await network.send("Network.enable");
  const [pictures, bytes] = [new Set(), new Map()];
  network.on("Network.responseReceived", ({ requestId, type }) => type === "Image" && pictures.add(requestId));
  network.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => bytes.set(requestId, encodedDataLength));
  await ada.go("/");
  await ada.page.locator(".card.product:not(.skeleton)").first().waitFor();
  await ada.page.waitForTimeout(1000);
  const sum = [...bytes].filter(([request]) => !pictures.has(request)).reduce((sum, [, bytes]) => sum + bytes, 0);
  console.log(`       the first page takes ${Math.round(sum / 1024)} KB without pictures, in ${bytes.size - pictures.size} requests`);
  assert.ok(sum > 10_000 && sum <= FIRST_PAGE_BYTES_MAX, `${sum} bytes`);
}

async function fitsEveryWidth({ mall, open }) {
  const [product] = await mall.products();
  const { items: [running] } = await (await fetch(`${mall.gateway}/api/v1/seckill/activities`)).json();
  const ada = await (await open()).register();
  const { page } = ada;
  for (const width of [360, 700, 768, 1024, 1920]) {
    await page.setViewportSize({ width, height: 800 });
    for (const path of ["/", `/category/${product.category_id}`, "/search?q=phone", `/product/${product.product_id}`, `/sale/${running.activity_id}`, "/cart", "/orders", "/account"]) {
      await ada.go(path);
      await page.locator("#main h1, #main h2").first().waitFor();
      await page.waitForTimeout(300);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${path} is ${over} px wider than ${width} px`);
    }
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

export const screens = [
  ...LOOKS.map((one) => [`pages are accessible: ${one.join(", ")}`, (world) => look(world, one)]),
  ["countdowns move nothing", countdownsMoveNothing], ["the first page is small", isSmall], ["every page fits 360 to 1920 pixels", fitsEveryWidth], ["the first page is there within a second", isThereSoon],
];
