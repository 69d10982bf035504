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
  await ada.go("/account");
  await ada.addAddress({ recipient: "<b>Ada</b>", region: "<i>region</i>", detail: XSS });
  await seen("/account", XSS);
  await seen("/checkout", XSS);
  await ada.button("Place order").click();
  await ada.page.waitForURL(/\/pay\/\d+$/);
  await seen("/orders", "<img src=x");
  await ada.page.locator(".order-body").first().click();
  await ada.page.getByText(XSS).first().waitFor();
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

async function saysWhatToDo({ open }) {
  const ada = await open();
  await ada.go("/sign-in");
  await ada.page.getByLabel("User name").fill("nobody-at-all");
  await ada.page.getByLabel("Password").fill("wrong-password");
  await ada.button("Sign in").click();
  await ada.page.getByText("The name or the password is wrong. Check both and try again.").waitFor();
  await ada.go("/product/1");
  await ada.page.getByText("It is not there any more.").waitFor();
  await ada.go("/nothing/here").catch(() => {});
}

async function opensFromTheGateway({ mall, open }) {
  const ada = await open();
  await ada.page.goto(mall.gateway);
  assert.equal(ada.page.url(), `${mall.shop}/`);
  assert.match(mall.output, /The mall is ready\.\n {2}shop +http/);
}

export const walks = [
  ["the gateway's address leads to the shop", opensFromTheGateway],
  ["a product is bought, paid and given back", buysAProduct],
  ["a shopper stays signed in, in all tabs, and signs out of all", staysSignedIn],
  ["every text from the database is text", showsTextAsText],
  ["a keyboard is enough", worksByKeyboard],
  ["the language is switched and kept", switchesLanguage],
  ["a refusal says what to do", saysWhatToDo],
];
