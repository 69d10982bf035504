// The admin pages: from a category to the end of a sale, with and without JavaScript, for each role.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { sleep } from "./mall.mjs";
import { Staff } from "./staff.mjs";

const XSS = `<img src=x onerror="window.hurt=1">'"><script>window.hurt=1</script>`;
const UNITS = 20;
const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1366, height: 768 } };

/** A PNG of 32 by 32 pixels, drawn by the browser. */
async function picture(page) {
  const canvas = `(() => { const c = document.createElement("canvas"); c.width = c.height = 32; const g = c.getContext("2d");
    g.fillStyle = "teal"; g.fillRect(0, 0, 32, 32); return c.toDataURL("image/png").split(",")[1]; })()`;
  return Buffer.from(await page.evaluate(canvas), "base64");
}

const PIXEL = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==", "base64");

async function makeProduct(staff, { category, title, image }) {
  await staff.go("/categories");
  await staff.fill("Name", category);
  await staff.press("Create");
  await staff.page.getByRole("link", { name: category, exact: true }).waitFor();
  await staff.go("/products/new");
  await staff.fill("Title", title);
  await staff.page.getByLabel("Category").selectOption({ label: category });
  await staff.press("Create");
  await staff.page.getByRole("heading", { name: title, exact: true, level: 1 }).waitFor();
  for (const colour of ["black", "white"]) {
    await staff.fill("Attributes", `Colour: ${colour}`);
    await staff.fill("Price in yuan", "199.50");
    await staff.fill("Stock", "500");
    await staff.press("Add the SKU");
    await staff.sees(`Colour: ${colour}`);
  }
  await staff.page.locator("input[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: image });
  await staff.press("Upload");
  await staff.page.locator(".pictures img").waitFor();
  await staff.press("Put on the shelf");
  await staff.page.locator(".badge", { hasText: "On the shelf" }).waitFor();
  return staff.page.url();
}

/** `ms` from now as a datetime-local field of the pages has it. */
function local(ms) {
  return new Date(Date.now() + ms + 8 * 3_600_000).toISOString().slice(0, 19);
}

async function makeSale(staff, product, { title, startsIn, sku = 0 }) {
  await staff.page.goto(product);
  await staff.page.getByRole("link", { name: "Start a sale" }).nth(sku).click();
  await staff.fill("Title", title);
  await staff.fill("Sale price in yuan", "9.90");
  await staff.fill("Units", String(UNITS));
  await staff.fill("Starts", local(startsIn));
  await staff.fill("Ends", local(3_600_000));
  await staff.press("Create the sale");
  await staff.page.getByRole("heading", { name: title, exact: true, level: 1 }).waitFor();
  return staff.page.url().match(/\/sales\/(\d+)$/)[1];
}

async function carryOut(staff, sale, verb) {
  await staff.go(`/sales/${sale}`);
  await staff.follow(verb);
  await staff.page.locator(".consequence").waitFor();
  await staff.press(verb);
  await staff.page.waitForURL(`**/sales/${sale}`);
}

async function buy(mall, sale, count, from) {
  for (let i = 0; i < count; i++) {
    const answer = await fetch(`${mall.gateway}/api/v1/seckill/orders`, { method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${from[i].token}` }, body: JSON.stringify({ activity_id: sale, quantity: 1 }) });
    assert.equal(answer.status, 202, await answer.text());
  }
}

/** Shoppers who are signed in. */
async function shoppers(mall, count) {
  const made = [];
  for (let i = 0; i < count; i++) {
    const body = JSON.stringify({ username: `buyer${Date.now()}x${i}`, password: "correct-horse" });
    const post = (path) => fetch(`${mall.shop}/api/v1${path}`, { method: "POST", headers: { "content-type": "application/json" }, body });
    await post("/users");
    made.push({ token: (await (await post("/sessions")).json()).access_token });
  }
  return made;
}

async function runsASale({ mall, open }) {
  const staff = await Staff.signIn(mall, await open({ viewport: SIZES.desk }));
  const image = await picture(staff.page);
  const product = await makeProduct(staff, { category: "Kettles", title: "Kettle", image });
  const later = await makeSale(staff, product, { title: "Kettles tomorrow", startsIn: 1_800_000, sku: 1 });
  await carryOut(staff, later, "Warm");
  await staff.page.locator(".badge", { hasText: "Warmed" }).waitFor();
  // One that starts within ten minutes is warmed by the mall itself.
  const sale = await makeSale(staff, product, { title: "Kettles tonight", startsIn: 5000 });
  for (let tries = 0; tries < 100; tries++) {
    const state = await (await fetch(`${mall.gateway}/api/v1/seckill/activities/${sale}`)).json();
    if (state.state === "open") break;
    await sleep(100);
  }
  await staff.go(`/sales/${sale}`);
  await staff.page.getByText("Live, once a second").waitFor();
  assert.equal(await staff.number("available"), UNITS);
  await buy(mall, sale, 7, await shoppers(mall, 7));
  await staff.page.locator("#held", { hasText: /^7$/ }).waitFor();
  await staff.page.locator("#light[data-light=green]").waitFor();
  const audit = await (await fetch(`${mall.admin}/admin/api/v1/activities/${sale}/audit`, { headers: { authorization: `Bearer ${mall.token}` } })).json();
  const shown = await Promise.all(["total", "available", "held", "sold", "seq"].map((id) => staff.number(id)));
  assert.deepEqual(shown, [audit.total, audit.available, audit.held, audit.sold, audit.seq]);
  assert.equal(audit.ok, true);
  const before = await staff.page.locator("#chart path.held").getAttribute("d");
  await staff.page.reload();
  await staff.page.waitForFunction((points) => (document.querySelector("#chart path.held")?.getAttribute("d").split("L").length ?? 0) >= points, before.split("L").length);

  await carryOut(staff, sale, "Pause");
  await staff.page.locator(".badge", { hasText: "Paused" }).waitFor();
  await carryOut(staff, sale, "Resume");
  await staff.page.locator(".badge", { hasText: "Open" }).waitFor();
  await staff.follow("Restock");
  await staff.fill("Units", "100000");
  await staff.press("Restock");
  await staff.page.locator(".field-error", { hasText: "There are only" }).waitFor();
  assert.equal(await staff.page.getByLabel("Units", { exact: true }).inputValue(), "100000");
  await staff.fill("Units", "5");
  await staff.press("Restock");
  await staff.page.locator("#total", { hasText: /^25$/ }).waitFor();

  const stranger = await open();
  assert.equal((await stranger.page.goto(`${mall.admin}/audit/${sale}`)).status(), 404);
  await staff.press("Make it public");
  assert.equal((await stranger.page.goto(`${mall.admin}/audit/${sale}`)).status(), 200);
  await stranger.page.locator("#light[data-light=green]").waitFor();

  await carryOut(staff, sale, "End");
  await staff.page.locator(".badge", { hasText: "Ended" }).waitFor();
  await staff.go("/audit-log");
  for (const action of ["end_sale", "restock_sale", "publish_audit", "pause_sale", "decide_opening", "add_sale", "shelve"]) await staff.sees(action);
}

/** More buyers than units, while somebody watches. */
async function sellsOut({ mall, open }) {
  const sale = await mall.sale({ title: "Sold out live", stock: UNITS });
  const staff = await Staff.signIn(mall, await open({ viewport: SIZES.desk }));
  await staff.go(`/sales/${sale}`);
  await staff.page.getByText("Live, once a second").waitFor();
  const buyers = await shoppers(mall, UNITS + 5);
  await buy(mall, sale, UNITS, buyers);
  await staff.page.locator("#available", { hasText: /^0$/ }).waitFor();
  await Promise.all(buyers.slice(UNITS).map(async ({ token }) => {
    const answer = await fetch(`${mall.gateway}/api/v1/seckill/orders`, { method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` }, body: JSON.stringify({ activity_id: sale, quantity: 1 }) });
    assert.equal((await answer.json()).code, "sold_out");
  }));
  await staff.page.locator("#answers tr", { hasText: "sold_out" }).waitFor();
  await staff.page.locator("#tile-accepted", { hasText: new RegExp(`^${UNITS}$`) }).waitFor();
  await staff.page.locator("#light[data-light=green]").waitFor();
  // Both at one entry of the ledger: a hold may run out between the two looks.
  for (let tries = 0; ; tries++) {
    const audit = await (await fetch(`${mall.admin}/admin/api/v1/activities/${sale}/audit`, { headers: { authorization: `Bearer ${mall.token}` } })).json();
    const shown = await staff.page.evaluate(() => ["seq", "total", "available", "held", "sold"].map((id) => Number(document.querySelector(`#${id}`).textContent.replaceAll(",", ""))));
    if (shown[0] !== audit.seq && tries < 20) {
      await sleep(500);
      continue;
    }
    assert.deepEqual(shown, [audit.seq, audit.total, audit.available, audit.held, audit.sold]);
    assert.equal(audit.ok, true);
    return;
  }
}

async function worksWithoutJavaScript({ mall, open }) {
  const staff = await Staff.signIn(mall, await open({ javaScriptEnabled: false, viewport: SIZES.desk }));
  const product = await makeProduct(staff, { category: "Lamps", title: "Lamp", image: PIXEL });
  const sale = await makeSale(staff, product, { title: "Lamps", startsIn: 1_800_000 });
  for (const verb of ["Pause", "Resume", "Warm", "End"]) await carryOut(staff, sale, verb);
  await staff.go("/users");
  await staff.go("/orders?status=paid");
  await staff.press("Filter");
  await staff.press("Sign out");
  await staff.page.getByRole("button", { name: "Sign in" }).waitFor();
  await staff.go("/sales");
  assert.match(staff.page.url(), /\/admin\/sign-in\?next=/);
}

async function losesNothing({ mall, open }) {
  const staff = await Staff.signIn(mall, await open({ viewport: SIZES.desk }));
  await staff.go("/sales/new");
  await staff.fill("Title", XSS);
  const sku = await staff.page.getByLabel("SKU").locator("option").nth(1).getAttribute("value");
  await staff.page.getByLabel("SKU").selectOption(sku);
  await staff.fill("Sale price in yuan", "99999999");
  await staff.fill("Units", "123456789");
  await staff.fill("Starts", local(7_200_000));
  await staff.fill("Ends", local(3_600_000));
  await staff.press("Create the sale");
  await staff.sees("Nothing was saved");
  await staff.page.locator(".field-error", { hasText: "The end must be after the start." }).waitFor();
  await staff.fill("Ends", local(9_200_000));
  await staff.press("Create the sale");
  for (const text of ["Above the shop's price", "The SKU has only"]) await staff.page.locator(".field-error", { hasText: text }).waitFor();
  assert.equal(await staff.page.getByLabel("Title", { exact: true }).inputValue(), XSS);
  assert.equal(await staff.page.getByLabel("SKU").inputValue(), sku);

  // Two who edit the same category: the second one sees that it has changed, and keeps the input.
  const category = await mall.call("/categories", { name: "Once" });
  await staff.go(`/categories/${category.category_id}`);
  await mall.call(`/categories/${category.category_id}`, { name: "Twice" }, "PATCH", { "if-match": "1" });
  await staff.fill("Name", "Thrice");
  await staff.press("Save");
  await staff.sees("Somebody else has changed it meanwhile");
  assert.equal(await staff.page.getByLabel("Name", { exact: true }).inputValue(), "Thrice");
}

async function showsTextAsText({ mall, open }) {
  const category = await mall.call("/categories", { name: `C${XSS}`.slice(0, 60) });
  const product = await mall.product({ title: `T${XSS}`, subtitle: `S${XSS}`, description: `D${XSS}`, attributes: { [`K${XSS}`.slice(0, 30)]: `V${XSS}`.slice(0, 60) }, category: category.category_id });
  const sale = await mall.sale({ title: `F${XSS}`, stock: 5, product });
  const staff = await Staff.signIn(mall, await open({ viewport: SIZES.desk }));
  for (const path of ["/", "/categories", `/categories/${category.category_id}`, "/products", `/products/${product.product_id}`, "/sales", `/sales/${sale}`,
    "/sales/new", `/sales/${sale}/do/end`, "/audit-log", `/products?q=${encodeURIComponent(XSS)}`, `/audit-log?action=${encodeURIComponent(XSS)}`,
    `/sign-in?next=${encodeURIComponent(`/admin/${XSS}`)}`, `/orders?order=${encodeURIComponent(XSS)}`]) {
    await staff.go(path);
    await sleep(50);
    assert.equal(await staff.page.evaluate(() => window.hurt), undefined, path);
    assert.equal(await staff.page.locator("img[src=x]").count(), 0, path);
  }
}

async function rolesAreLimited({ mall, open }) {
  for (const role of ["viewer", "operator"]) {
    const name = `${role}${Date.now()}`;
    await mall.call("/admins", { username: name, password: "first-password", role });
    const sale = await mall.sale({ title: `For a ${role}`, stock: 5 });
    const staff = await Staff.settle(mall, await open({ viewport: SIZES.desk }), name, "first-password");
    assert.equal(await staff.page.getByRole("link", { name: "Staff" }).count(), 0, "it is not shown");
    for (const path of ["/staff", "/audit-log", "/users/1/block?decision=on", "/orders/1/refund?decision=approve"]) {
      assert.equal((await staff.go(path)).status(), 403, `${role} ${path}`);
    }
    await staff.go(`/sales/${sale}`);
    const csrf = await staff.page.locator("input[name=csrf]").first().getAttribute("value");
    const post = (path, value) => staff.page.request.post(`${mall.admin}/admin${path}`, { form: { csrf: value }, maxRedirects: 0, failOnStatusCode: false });
    assert.equal((await post(`/sales/${sale}/do/pause`, "forged")).status(), 403, "a form of another site");
    assert.equal(await staff.page.getByRole("link", { name: "Pause" }).count(), role === "operator" ? 1 : 0);
    assert.equal((await post(`/sales/${sale}/do/pause`, csrf)).status(), role === "operator" ? 303 : 403, role);
    assert.equal((await post("/staff", csrf)).status(), 403, role);
  }
  const cookies = (await (await Staff.signIn(mall, await open())).page.context().cookies()).filter(({ name }) => name === "mall_admin_session");
  assert.ok(cookies[0].httpOnly && cookies[0].sameSite === "Strict" && cookies[0].path === "/admin");
}

const looks = Object.keys(SIZES).flatMap((size) => ["light", "dark"].map((scheme) => [`admin pages are accessible: ${size}, ${scheme}`, (world) => look(world, size, scheme)]));

async function look({ mall, open }, size, scheme) {
  const visitor = await open({ viewport: SIZES[size], colorScheme: scheme, locale: "en-GB" });
  mkdirSync(process.env.SCREENS, { recursive: true });
  const inspect = async (name) => {
    const { violations } = await new AxeBuilder({ page: visitor.page }).analyze();
    const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    const width = await visitor.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    await visitor.page.screenshot({ path: join(process.env.SCREENS, `admin-${name}-${size}-${scheme}.png`), fullPage: true });
    assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ target, any }) => [target, any[0]?.message]).slice(0, 3)]), [], name);
    assert.ok(width[0] <= width[1], `${name} is wider than the screen: ${width}`);
  };
  await visitor.page.goto(`${mall.admin}/admin/sign-in`);
  await inspect("sign-in");
  const staff = await Staff.signIn(mall, visitor);
  if (scheme === "dark") await staff.page.goto(`${mall.admin}/admin/language?to=zh&next=/admin/`);
  const sale = await mall.sale({ title: "北辰 X1 Pro 限时秒杀 / Beichen X1 Pro", stock: 30 });
  await buy(mall, sale, 6, await shoppers(mall, 6));
  mall.plantUnreadable();
  await mall.bill(`T${Date.now()}`);
  const { product_id: product } = (await mall.call("/products?limit=100", undefined, "GET")).items.find(({ image_ids: images }) => images.length > 0);
  const { items: [{ order_id: order }] } = await mall.call("/orders?limit=1", undefined, "GET");
  const pages = { board: `/sales/${sale}`, dashboard: "/", sales: "/sales", "sale-form": "/sales/new", confirm: `/sales/${sale}/do/end`, products: "/products", product: `/products/${product}`,
    categories: "/categories", orders: "/orders", order: `/orders/${order}`, users: "/users", money: "/money?resolved=all", "own-account": "/account", parked: "/parked", "audit-log": "/audit-log", staff: "/staff",
    import: "/products/import", shipments: "/orders/import", print: `/orders/${order}/print`, settings: "/settings", account: `/staff/${(await mall.call("/admins?limit=1", undefined, "GET")).items[0].admin_id}`, category: `/categories/${(await mall.call("/categories?limit=1", undefined, "GET")).items[0].category_id}` };
  for (const [name, path] of Object.entries(pages)) {
    await staff.go(path);
    if (name === "board") {
      await staff.page.locator("#accepted, #tile-accepted", { hasText: /^6$/ }).first().waitFor();
      await sleep(2500);
    }
    await inspect(name);
  }
}

export const admin = [
  ["staff make a product and run a sale", runsASale],
  ["a board follows a sale until it is sold out", sellsOut],
  ["the admin pages work without JavaScript", worksWithoutJavaScript],
  ["a form that is refused loses nothing", losesNothing],
  ["the admin pages show text as text", showsTextAsText],
  ["what a role may not do is not shown and is refused", rolesAreLimited],
  ...looks,
];
