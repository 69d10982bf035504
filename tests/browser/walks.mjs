// Through the shop: from registration to refund, with strings that would be scripts, by keyboard alone.

import assert from "node:assert/strict";

const XSS = `<img src=x onerror="window.hurt=1">'"><script>window.hurt=1</script>`;

async function buysAProduct({ mall, open }) {
  const ada = await (await open()).register();
  await ada.go("/search?q=Beichen");
  await ada.page.locator(".card.product", { hasText: "Beichen X1 Pro" }).waitFor();
  await ada.page.locator(".facet", { hasText: "Phones" }).waitFor();
  const product = (await mall.products()).find((one) => one.title.includes("X1 Pro"));
  await ada.go(`/product/${product.product_id}`);
  await ada.page.getByRole("radio", { name: "512 GB" }).focus();
  await ada.page.keyboard.press("Space");
  await ada.button("Add to cart").click();
  await ada.page.locator(".toast", { hasText: "Added" }).waitFor();
  await ada.page.locator("#tabs a", { hasText: "Cart" }).click();
  await ada.page.locator(".line", { hasText: "512 GB" }).waitFor();
  await ada.page.getByRole("link", { name: "Check out" }).click();
  await ada.addAddress();
  await ada.button("Place order").click();
  await ada.page.waitForURL(/\/pay\/\d+$/);
  await ada.payAtThePlatform();
  await ada.page.getByRole("link", { name: "See the order" }).click();
  await ada.page.locator(".badge", { hasText: "Paid" }).waitFor();
  await ada.button("Ask for a refund").click();
  await ada.page.getByLabel("Reason (optional)").fill("too large");
  await ada.button("Send the request").click();
  await ada.page.locator(".badge", { hasText: "Refund asked" }).waitFor();
  const [order] = await ada.orders();
  assert.equal(order.status, "refunding");
}

async function staysSignedIn({ open }) {
  const ada = await (await open()).register();
  const cookies = await ada.context.cookies();
  const cookie = cookies.find(({ name }) => name === "mall_shop_refresh");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict" && cookie.path === "/api/v1/sessions", JSON.stringify(cookie));
  const stored = await ada.page.evaluate(() => JSON.stringify([localStorage, sessionStorage]));
  assert.ok(!stored.includes("eyJ"), "a token is in the browser's storage");
  await ada.page.reload();
  await ada.go("/account");
  await ada.page.getByText(ada.name).waitFor();
  const tabs = await Promise.all([1, 2, 3].map(() => ada.tab()));
  await Promise.all(tabs.map((tab) => tab.goto(`${ada.mall.shop}/account`)));
  for (const tab of tabs) await tab.getByText(ada.name).waitFor();
  await ada.button("Sign out").click();
  for (const tab of tabs) await tab.getByRole("heading", { name: "Welcome back" }).waitFor();
}

async function comesBackFromAnotherSite({ mall, open }) {
  const ada = await (await open()).register();
  await ada.go(`/sale/${await mall.sale({ title: "Paid elsewhere", stock: 1 })}`);
  await ada.sees("On now");
  await ada.button("Buy now").click();
  await ada.sees("It is yours!");
  await ada.page.getByRole("link", { name: "Pay now" }).click();
  await ada.page.getByRole("button", { name: /^Pay ¥/ }).click();
  await ada.page.waitForURL(/mock-pay/);
  // The buyer pays, and the way back begins on a page of another site.
  const form = await ada.page.locator("form").evaluate((form) => ({ action: form.action, fields: Object.fromEntries(new FormData(form)) }));
  const paid = await ada.page.request.post(form.action, { form: form.fields, maxRedirects: 0 });
  assert.ok(paid.status() < 400, `${paid.status()}`);
  const elsewhere = "http://platform.example/paid";
  await ada.page.route(elsewhere, (route) => route.fulfill({ contentType: "text/html", body: `<a href="${mall.shop}/pay/return">Back to the shop</a>` }));
  await ada.page.goto(elsewhere);
  await ada.page.getByRole("link", { name: "Back to the shop" }).click();
  await ada.page.getByRole("heading", { name: "Paid. Thank you!" }).waitFor();
  await ada.page.getByRole("link", { name: "Choose an address" }).click();
  await ada.page.locator(".badge", { hasText: "Paid" }).waitFor();
  await ada.go("/account");
  await ada.page.getByText(ada.name).waitFor();
}

/** What somebody does who tries the shop: a sale without an account, and no address anywhere. */
async function winsAsAStranger({ mall, open }) {
  const sale = await mall.sale({ title: "A stranger's", stock: 2 });
  const ada = await open();
  const { page } = ada;
  await ada.go(`/sale/${sale}`);
  await ada.button("Sign in to buy").click();
  await page.getByRole("link", { name: "New here? Create an account" }).click();
  ada.name = `stranger${process.pid}`;
  await page.getByLabel("User name").fill(ada.name);
  await page.getByLabel("Password").fill("correct-horse");
  await ada.button("Create account").click();
  await page.waitForURL(`${mall.shop}/sale/${sale}`);
  await ada.button("Buy now").click();
  await ada.sees("It is yours!");
  await page.getByRole("link", { name: "Pay now" }).click();
  await ada.payAtThePlatform();
  await page.getByRole("link", { name: "Choose an address" }).click();
  await ada.button("Choose an address").click();
  const save = page.locator("dialog").getByRole("button", { name: "Use this address" });
  assert.equal(await save.isVisible(), false, "there is no address to use yet");
  await page.locator("dialog").getByRole("button", { name: "Add an address" }).click();
  const form = page.locator("dialog").last();
  for (const [label, text] of [["Full name", "Ada"], ["Region and city", "上海市"], ["Street and number", "漕溪北路 88 号"]]) await form.getByLabel(label).fill(text);
  await form.getByLabel("Phone", { exact: true }).fill("13800138000");
  await form.getByRole("button", { name: "Save" }).click();
  await save.click();
  await page.getByText("漕溪北路 88 号").waitFor();
  await ada.button("Ask for a refund").click();
  await ada.button("Send the request").click();
  await page.getByText("The shop decides on your request.").waitFor();
  // The shop's staff begin at the address that the mall prints.
  await page.goto(mall.admin);
  assert.equal(new URL(page.url()).pathname, "/admin/sign-in");
}

async function showsTextAsText({ mall, open }) {
  const category = await mall.call("/categories", { name: `C${XSS}`.slice(0, 60), sort_order: 99 });
  const product = await mall.product({ title: `T${XSS}`, subtitle: `S${XSS}`, description: `D${XSS}`, attributes: { [`K${XSS}`.slice(0, 30)]: `V${XSS}`.slice(0, 60) },
    category: category.category_id });
  const sale = await mall.sale({ title: `F${XSS}`, stock: 5, product });
  const ada = await (await open()).register();
  const seen = async (path, text) => {
    await ada.go(path);
    await ada.page.getByText(text, { exact: false }).first().waitFor();
    await ada.page.waitForTimeout(150);
    assert.equal(await ada.page.evaluate(() => window.hurt), undefined, path);
  };
  await seen("/", "<img src=x");
  await seen(`/category/${category.category_id}`, "<img src=x");
  await seen(`/product/${product.product_id}`, `D${XSS}`);
  await ada.button("Add to cart").click();
  await ada.page.locator(".toast").waitFor();
  await seen("/cart", `T${XSS}`);
  await seen(`/search?q=${encodeURIComponent(XSS)}`, "<img src=x");
  await ada.page.locator(".search input").fill("<img");
  await ada.page.waitForTimeout(600);
  assert.equal(await ada.page.evaluate(() => window.hurt), undefined, "suggestions");
  await ada.go("/account");
  await ada.addAddress({ recipient: "<b>Ada</b>", region: "<i>region</i>", detail: XSS });
  await seen("/account", XSS);
  await seen("/checkout", XSS);
  await ada.button("Place order").click();
  await ada.page.waitForURL(/\/pay\/\d+$/);
  await seen("/orders", "<img src=x");
  await ada.page.locator(".order-body").first().click();
  await ada.page.getByText(XSS).first().waitFor();
  const order = new URL(ada.page.url()).pathname;
  await ada.go(order.replace("/orders/", "/pay/"));
  await ada.payAtThePlatform();
  await mall.call(`${order}/shipment`, { carrier: `C${XSS}`.slice(0, 40), tracking_no: `N${XSS}`.slice(0, 40) });
  await seen(order, "C<img src=x");
  await ada.button("Ask for a refund").click();
  await ada.page.getByLabel("Reason (optional)").fill(XSS);
  await ada.button("Send the request").click();
  await ada.page.locator(".badge", { hasText: "Refund asked" }).waitFor();
  await seen(order, XSS);
  await seen(`/sale/${sale}`, `F${XSS}`);
  await ada.go(`/sign-in?next=${encodeURIComponent("//evil.example/")}`);
}

async function worksByKeyboard({ mall, open }) {
  const sale = await mall.sale({ title: "Keyboard", stock: 3 });
  const ada = await (await open()).register();
  await ada.go(`/sale/${sale}`);
  await ada.sees("On now");
  for (let tabs = 0; tabs < 30; tabs++) {
    await ada.page.keyboard.press("Tab");
    if ((await ada.page.evaluate(() => document.activeElement.textContent)) === "Buy now") break;
  }
  const outline = await ada.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid", "the focus can be seen");
  await ada.page.keyboard.press("Enter");
  await ada.sees("It is yours!");
}

async function ordersByKeyboard({ mall, open }) {
  const ada = await (await open()).register();
  const { page } = ada;
  const { keyboard } = page;
  const focused = () => page.evaluate(() => {
    const { textContent, ariaLabel, placeholder, labels } = document.activeElement;
    return [textContent, ariaLabel, placeholder, labels?.[0]?.textContent].filter(Boolean).join(" ");
  });
  const tabTo = async (text) => {
    const passed = [];
    for (let tabs = 0; tabs < 80; tabs++) {
      await keyboard.press("Tab");
      passed.push(await focused());
      if (passed.at(-1).includes(text)) return;
    }
    throw new Error(`no Tab leads to ${text}: ${passed.join(" | ")}`);
  };
  await ada.go("/");
  await tabTo("Search phones");
  await keyboard.type("Beichen X1 Pro");
  await keyboard.press("Enter");
  await page.locator(".card.product", { hasText: "Beichen X1 Pro" }).waitFor();
  await tabTo("Beichen X1 Pro");
  await keyboard.press("Enter");
  await page.waitForURL(/\/product\//);
  await ada.button("Add to cart").waitFor();
  await tabTo("256 GB");
  await keyboard.press("ArrowRight");
  await page.locator("input:checked ~ span", { hasText: "512 GB" }).waitFor();
  await tabTo("Buy now");
  await keyboard.press("Enter");
  await page.waitForURL(/\/checkout/);
  await ada.button("Place order").waitFor();
  await tabTo("Add an address");
  await keyboard.press("Enter");
  await page.locator("dialog[open]").waitFor();
  await keyboard.type("Ada Lovelace");
  for (const [label, text] of [["Phone", "13800138000"], ["Region", "上海市"], ["Street", "漕溪北路 88 号"]]) {
    await tabTo(label);
    await keyboard.type(text);
  }
  await keyboard.press("Enter");
  await page.locator(".address").first().waitFor();
  await tabTo("Place order");
  await keyboard.press("Enter");
  await page.waitForURL(/\/pay\/\d+$/);
  await page.getByRole("button", { name: /^Pay ¥/ }).waitFor();
  await tabTo("Pay ¥");
  await keyboard.press("Enter");
  await page.waitForURL(/mock-pay/);
  await tabTo("Pay");
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "Paid. Thank you!" }).waitFor();
  await tabTo("See the order");
  await keyboard.press("Enter");
  await ada.button("Ask for a refund").waitFor();
  await tabTo("Ask for a refund");
  await keyboard.press("Enter");
  await keyboard.type("too large");
  await tabTo("Send the request");
  await keyboard.press("Enter");
  await page.locator(".badge", { hasText: "Refund asked" }).waitFor();
}

async function switchesLanguage({ open }) {
  const ada = await open();
  await ada.go("/");
  await ada.button("中文").click();
  await ada.page.getByRole("heading", { name: "新品上架" }).waitFor();
  await ada.page.locator(".card.product .name", { hasText: "北辰 X1 Pro" }).waitFor();
  assert.equal(await ada.page.evaluate(() => document.documentElement.lang), "zh-CN");
  await ada.page.reload();
  await ada.page.getByRole("heading", { name: "新品上架" }).waitFor();
}

async function leavesWhileItLoads({ open }) {
  const ada = await open();
  let asked;
  const waiting = new Promise((resolve) => (asked = resolve));
  await ada.page.route("**/api/v1/products?*", () => asked());
  await ada.go("/");
  await waiting;
  await ada.page.getByPlaceholder("Search phones").fill("Beichen X1 Pro");
  await ada.page.keyboard.press("Enter");
  await ada.page.locator(".card.product", { hasText: "Beichen X1 Pro" }).first().waitFor();
  assert.deepEqual(ada.faults, []);
}

async function saysWhatToDo({ open }) {
  const ada = await open();
  await ada.go("/sign-in");
  await ada.page.getByLabel("User name").fill("nobody-at-all");
  await ada.page.getByLabel("Password").fill("wrong-password");
  await ada.button("Sign in").click();
  await ada.page.getByText("The name or the password is wrong. Check both and try again.").waitFor();
  await ada.go("/product/1");
  await ada.page.getByText("It is not there any more. The home page has everything on sale.").waitFor();
  await ada.go("/nothing/here").catch(() => {});
}

async function opensFromTheGateway({ mall, open }) {
  const ada = await open();
  await ada.page.goto(mall.gateway);
  assert.equal(ada.page.url(), `${mall.shop}/`);
  assert.match(mall.output, /The mall is ready\.\n {2}shop +http/);
}

async function returnsToItsPlace({ mall, open }) {
  const ada = await open();
  const { page } = ada;
  await ada.go("/");
  const far = page.locator("#newest ~ div .card.product").nth(7);
  await far.scrollIntoViewIfNeeded();
  const before = await page.evaluate(() => scrollY);
  assert.ok(before > 500, `${before}`);
  await far.click();
  await page.waitForURL(/\/product\/\d+$/);
  await page.getByRole("heading", { name: "More like this" }).waitFor();
  assert.equal(await page.evaluate(() => scrollY), 0, "a new page starts at its top");
  await page.goBack();
  await page.waitForFunction((top) => Math.abs(scrollY - top) < 3, before);
  await page.goForward();
  await page.waitForFunction(() => scrollY === 0);
  // A reload keeps the place, too.
  await page.goBack();
  await page.waitForFunction((top) => Math.abs(scrollY - top) < 3, before);
  await page.reload();
  await page.waitForFunction((top) => Math.abs(scrollY - top) < 3, before);
}

async function ordersAtTheNewPrice({ mall, open }) {
  const product = await mall.product({ title: "Prices" });
  const ada = await (await open()).register();
  await ada.go("/account");
  await ada.addAddress();
  await ada.go(`/product/${product.product_id}`);
  await ada.button("Buy now").click();
  await ada.page.locator(".summary .price", { hasText: "¥100" }).first().waitFor();
  const { version } = await mall.call(`/skus/${product.sku.sku_id}`, undefined, "GET");
  await mall.call(`/skus/${product.sku.sku_id}`, { price_cents: 120_00 }, "PATCH", { "if-match": `"${version}"` });
  // What shoppers see of the catalogue may be older than the price that the order has.
  let old = 2;
  await ada.page.route(`**/api/v1/skus/${product.sku.sku_id}`, async (route) => {
    const answer = await route.fetch();
    const shown = await answer.json();
    if (old-- > 0) for (const sku of shown.skus) sku.price_cents = 100_00;
    await route.fulfill({ response: answer, json: shown });
  });
  await ada.button("Place order").click();
  await ada.page.locator(".toast", { hasText: "The price has changed" }).waitFor();
  await ada.page.locator(".summary .price", { hasText: "¥120" }).first().waitFor();
  await ada.button("Place order").click();
  await ada.page.waitForURL(/\/pay\/\d+$/);
  const [order] = await ada.orders();
  assert.equal(order.total_cents, 120_00);
}

export const walks = [
  ["the gateway's address leads to the shop", opensFromTheGateway],
  ["a product is bought, paid and given back", buysAProduct],
  ["a shopper stays signed in, in all tabs, and signs out of all", staysSignedIn],
  ["who comes back from another site's payment page is still signed in", comesBackFromAnotherSite],
  ["every text from the database is text", showsTextAsText],
  ["a keyboard is enough", worksByKeyboard],
  ["a keyboard is enough for an order from search to refund", ordersByKeyboard],
  ["the language is switched and kept", switchesLanguage],
  ["a page that is left while it loads reports nothing", leavesWhileItLoads],
  ["a refusal says what to do", saysWhatToDo],
  ["a stranger wins, pays, chooses an address and gives it back", winsAsAStranger],
  ["the back button returns to the place in a list", returnsToItsPlace],
  ["a price that changes during checkout is shown before it is paid", ordersAtTheNewPrice],
];
