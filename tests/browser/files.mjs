// Files and selections on the admin pages, and a refund of a part of an order.

import assert from "node:assert/strict";
import { sleep } from "./mall.mjs";
import { Staff } from "./staff.mjs";

const DESK = { width: 1366, height: 768 };
const BOM = "\ufeff";

/** 200 rows of 100 products; the price of one is a formula, and one is of a category that does not exist. */
function rows(category) {
  const lines = Array.from({ length: 200 }, (_, at) => {
    const price = at === 76 ? "=1+1" : "19.90";
    return `${at === 149 ? "Nothing" : category},Imported ${Math.floor(at / 2)},Colour: ${at},${price},5,yes`;
  });
  return Buffer.from(`${BOM}category,title,attributes,price,stock,on_shelf\r\n${lines.join("\r\n")}\r\n`);
}

async function checkFile(staff, file) {
  await staff.page.locator("main > form input[type=file]").setInputFiles({ name: "products.csv", mimeType: "text/csv", buffer: file });
  await staff.press("Check the file");
}

async function figures(staff, expect) {
  for (const [id, count] of Object.entries(expect)) await staff.page.locator(`#rows-${id}`, { hasText: new RegExp(`^${count}$`) }).waitFor();
}

const imports = (javaScriptEnabled) => async ({ mall, open }) => {
  const category = `Imports ${javaScriptEnabled}`;
  await mall.call("/categories", { name: category });
  const staff = await Staff.signIn(mall, await open({ javaScriptEnabled, viewport: DESK }));
  await staff.go("/products");
  await staff.follow("Import CSV");
  await checkFile(staff, Buffer.from("category,title\nx,y\n"));
  await staff.sees("lacks these columns: attributes, price");
  await checkFile(staff, rows(category));
  await figures(staff, { good: 198, same: 0, wrong: 2 });
  for (const reason of ["an amount such as", "There is no such category: Nothing"]) await staff.sees(reason);
  await staff.press("Import 198 rows");
  await staff.page.getByRole("heading", { name: "What was imported" }).waitFor();
  await figures(staff, { good: 198, same: 0, wrong: 2 });
  await staff.go(`/products?q=${encodeURIComponent("Imported 7")}`);
  await staff.sees("Imported 78");

  // The export has the same rows, so that it changes nothing.
  const exported = await (await staff.page.request.get(`${mall.admin}/admin/products/export?q=Imported`)).body();
  await staff.go("/products/import");
  await checkFile(staff, exported);
  await staff.page.locator("#rows-good", { hasText: /^0$/ }).waitFor();
  assert.equal(await staff.number("rows-wrong"), 0);
};

async function changesASelection({ mall, open }) {
  const category = (await mall.call("/categories", { name: "Selected" })).category_id;
  for (const title of ["Selected one", "Selected two"]) await mall.product({ title, category });
  const staff = await Staff.signIn(mall, await open({ viewport: DESK }));
  await staff.go(`/products?category=${category}`);
  assert.ok(await staff.page.getByRole("button", { name: "Preview the changes" }).isDisabled(), "nothing is selected");
  await staff.page.getByLabel("Select all").check();
  await staff.page.getByLabel("With the selected products").selectOption("percent");
  await staff.fill("Amount or percentage", "-10");
  await staff.press("Preview the changes (2)");
  assert.equal(await staff.page.getByText("¥90.00").count(), 2);
  await staff.press("Make 2 changes");
  await staff.page.locator("#made", { hasText: /^2$/ }).waitFor();
}

async function ordersPictures({ mall, open }) {
  const product = await mall.product({ title: "Pictured" });
  const staff = await Staff.signIn(mall, await open({ viewport: DESK }));
  await staff.go(`/products/${product.product_id}`);
  const files = await Promise.all(["teal", "orange"].map(async (colour) => {
    const draw = `(() => { const c = document.createElement("canvas"); c.width = c.height = 32; const g = c.getContext("2d");
      g.fillStyle = "${colour}"; g.fillRect(0, 0, 32, 32); return c.toDataURL("image/png").split(",")[1]; })()`;
    return { name: `${colour}.png`, mimeType: "image/png", buffer: Buffer.from(await staff.page.evaluate(draw), "base64") };
  }));
  await staff.page.locator("input[type=file]").setInputFiles(files);
  assert.equal(await staff.page.locator(".previews img").count(), 2);
  await staff.press("Upload");
  await staff.page.locator(".pictures img").nth(1).waitFor();
  const order = () => staff.page.locator(".pictures img").evaluateAll((images) => images.map((image) => image.src));
  const before = await order();
  await staff.press("Earlier");
  await staff.page.waitForFunction((first) => document.querySelector(".pictures img").src !== first, before[0]);
  assert.deepEqual(await order(), before.toReversed());
}

async function outlivesItsSession({ mall, open }) {
  const staff = await Staff.signIn(mall, await open({ viewport: DESK }));
  await staff.go("/categories");
  await staff.fill("Name", "Typed before the end");
  await staff.page.context().clearCookies();
  await staff.press("Create");
  await staff.sees("The session has ended");
  await staff.page.getByLabel("User name").fill("admin");
  await staff.page.getByLabel("Password").fill(mall.password);
  await staff.press("Sign in");
  await staff.sees("nothing was saved");
  assert.equal(await staff.page.getByLabel("Name", { exact: true }).inputValue(), "Typed before the end");
  await staff.press("Create");
  await staff.page.getByRole("link", { name: "Typed before the end" }).waitFor();
}

async function refundsAPart({ mall, open }) {
  const product = await mall.product({ title: "Refunded in part" });
  const ada = await open();
  await ada.register();
  await ada.go(`/product/${product.product_id}`);
  await ada.button("Add to cart").click();
  await ada.page.locator(".toast", { hasText: "Added" }).waitFor();
  await ada.page.locator("#tabs a", { hasText: "Cart" }).click();
  await ada.page.getByRole("link", { name: "Check out" }).click();
  await ada.addAddress();
  await ada.button("Place order").click();
  await ada.page.waitForURL(/\/pay\/\d+$/);
  const order = ada.page.url().match(/(\d+)$/)[1];
  await ada.payAtThePlatform();
  const staff = await Staff.signIn(mall, await open({ viewport: DESK }));
  for (let tries = 0; tries < 50; tries++) {
    await staff.go(`/orders/${order}`);
    if (await staff.page.locator(".badge", { hasText: "Paid" }).count() > 0) break;
    await sleep(200);
  }
  await staff.page.getByText("Refund a part, or all of it").click();
  await staff.fill("Amount in yuan (optional)", "12.50");
  await staff.fill("Reason", "A scratch");
  await staff.press("Ask for the refund");
  await staff.sees("¥12.50");
  await staff.follow("Approve");
  await staff.page.locator(".consequence", { hasText: "¥12.50" }).waitFor();
  await staff.press("Approve the refund");
  await staff.sees("Refund decided by staff");
  await staff.follow("Print view");
  await staff.sees("Ada Lovelace");
}

export const files = [
  ["staff import 200 rows, two of them bad", imports(true)],
  ["staff import 200 rows without JavaScript", imports(false)],
  ["staff change the prices of a selection", changesASelection],
  ["staff send several pictures and order them", ordersPictures],
  ["a form outlives its session", outlivesItsSession],
  ["staff refund a part of an order", refundsAPart],
];
