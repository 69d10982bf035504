// The back office in a browser: a first password, dead letters, a bill, texts of pictures, and a board during `bench sale`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { sleep } from "./mall.mjs";
import { Staff } from "./staff.mjs";

const DESK = { width: 1366, height: 768 };
const STOCK = 400;
const USERS = 1000;

async function changesTheFirstPassword({ mall, open }) {
  const name = `new${Date.now()}`;
  await mall.call("/admins", { username: name, password: "chosen-by-another", role: "viewer" });
  const { page } = await open({ viewport: DESK, locale: "en-GB" });
  const staff = new Staff(mall, page);
  await staff.go("/orders?status=paid");
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill("chosen-by-another");
  await staff.press("Sign in");
  await staff.sees("You did not choose this password");
  await staff.go("/sales");
  assert.match(page.url(), /\/admin\/account$/);
  await staff.fill("Present password", "chosen-by-another");
  await staff.fill("New password", "known-to-me-alone");
  await staff.fill("New password again", "known-to-me-alone");
  await staff.press("Change the password");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await staff.go("/sales");
  assert.match(page.url(), /\/admin\/sales$/);
}

/** How many dead letters there are. */
async function lettersOf(mall) {
  return (await mall.call("/dead-letters?limit=100", undefined, "GET")).items.length;
}

async function replaysADeadLetter({ mall, open }) {
  const staff = await Staff.signIn(mall, await open({ viewport: DESK }));
  const before = await lettersOf(mall);
  mall.plantUnreadable();
  const letters = () => staff.page.locator("article", { hasText: "order-core.keeper" });
  const wait = async (count) => {
    for (let tries = 0; tries < 200; tries++) {
      await staff.go("/parked");
      if ((await letters().count()) === count) return;
      await sleep(100);
    }
    throw new Error(`there are not ${count} dead letters`);
  };
  await wait(before + 1);
  await staff.press("Replay", letters().first());
  // It can't be read the second time either, and the letter about that may be the first by now.
  await letters().locator(".badge", { hasText: "Replayed" }).first().waitFor();
  await wait(before + 2);
  await letters().first().getByLabel("Why it is given up").fill("an older version wrote it");
  await staff.press("Give up", letters().first());
  await letters().first().locator(".badge", { hasText: "Dropped" }).waitFor();
  await staff.go("/audit-log");
  for (const action of ["replay_letter", "drop_letter"]) await staff.sees(action);
}

async function comparesABill({ mall, open }) {
  const staff = await Staff.signIn(mall, await open({ viewport: DESK }));
  await staff.go("/");
  await staff.follow("Money");
  const trade = `U${Date.now()}`;
  const row = `${trade}\t,12345\t,x,a,2027-01-15 16:00:00,2027-01-15 16:00:01,,,,,a,1.00,1.00,0,0,0,0,0,,0,0,,0,0,\r\n`;
  const send = async (text) => {
    await staff.page.locator("#date").fill("2027-01-15");
    await staff.page.locator("#file").setInputFiles({ name: "bill.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
    await staff.press("Compare");
  };
  await send("id,amount\r\n");
  await staff.page.locator(".field-error").waitFor();
  assert.equal(await staff.page.locator("#date").inputValue(), "2027-01-15");
  await send(`#支付宝业务明细查询\r\n支付宝交易号,商户订单号,业务类型\r\n${row}#end\r\n`);
  await staff.page.locator("#bill-unmatched", { hasText: /^1$/ }).waitFor();
  const card = staff.page.locator("article", { hasText: trade });
  await card.getByLabel("Where the money belongs").fill("another shop's, sent back");
  await staff.press("Mark as resolved", card);
  await card.waitFor({ state: "detached" });
  await staff.go("/money?resolved=yes");
  await staff.sees("another shop's, sent back");
}

async function describesAPicture({ mall, open }) {
  const product = await mall.product({ title: "Described" });
  const staff = await Staff.signIn(mall, await open({ viewport: DESK }));
  await staff.go(`/products/${product.product_id}`);
  const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
  await staff.page.locator("input[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from(pixel, "base64") });
  await staff.press("Upload");
  await staff.page.getByLabel("What it shows: picture 1").fill("A teal square");
  await staff.press("Save", staff.page.locator(".pictures"));
  await staff.page.getByRole("img", { name: "A teal square" }).waitFor();
  const shopper = await open();
  await shopper.go(`/product/${product.product_id}`);
  await shopper.page.getByRole("img", { name: "A teal square" }).waitFor();
}

/** `bench sale` sells a sale out while somebody watches it. */
async function watchesTheBench({ mall, open }) {
  const bench = process.env.BENCH ?? join(dirname(process.env.MALL), "bench");
  assert.ok(existsSync(bench), `${bench} is not built`);
  const staff = await Staff.signIn(mall, await open({ viewport: DESK, colorScheme: "dark" }));
  const before = new Set((await mall.call("/activities?limit=100", undefined, "GET")).items.map((sale) => sale.activity_id));
  const flags = { stock: STOCK, users: USERS, connections: 16, gateway: mall.gateway, "order-core": mall.shop, admin: mall.admin, "data-dir": join(mall.directory, "data"),
    "shopper-secret": mall.shopperSecret, "admin-password": mall.password, model: "open", rate: 100, settle: "60s" };
  const running = promisify(execFile)(bench, ["sale", ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])], { timeout: 240_000 });
  running.catch(() => {});
  let sale;
  for (let tries = 0; tries < 600 && !sale; tries++) {
    sale = (await mall.call("/activities?limit=100", undefined, "GET")).items.find((one) => !before.has(one.activity_id))?.activity_id;
    await sleep(50);
  }
  await staff.go(`/sales/${sale}`);
  await staff.page.getByText("Live, once a second").waitFor();
  await staff.page.waitForFunction((stock) => {
    const left = Number(document.querySelector("#available").textContent);
    return left > 0 && left < stock * 0.8;
  }, STOCK, { timeout: 120_000 });
  await staff.page.locator(".badge", { hasText: "Open" }).waitFor();
  mkdirSync(process.env.SCREENS, { recursive: true });
  await staff.page.screenshot({ path: join(process.env.SCREENS, "admin-board-live.png") });
  await staff.page.locator("#available", { hasText: /^0$/ }).waitFor({ timeout: 120_000 });
  const { stdout } = await running;
  assert.match(stdout, /PASS/);
  assert.doesNotMatch(stdout, /FAIL/);
  await staff.page.locator("#light[data-light=green]").waitFor({ timeout: 60_000 });
  await staff.page.locator("#tile-accepted", { hasText: new RegExp(`^${STOCK}$`) }).waitFor();
  await staff.page.locator("#answers tr", { hasText: "sold_out" }).waitFor();
  assert.equal(await staff.page.locator("#each-gateway tbody tr").count(), 1);
  // Both at one entry of the ledger: a hold may run out between the two looks.
  for (let tries = 0; ; tries++) {
    const audit = await mall.call(`/activities/${sale}/audit`, undefined, "GET");
    const shown = await staff.page.evaluate(() => ["seq", "total", "available", "held", "sold"].map((id) => Number(document.querySelector(`#${id}`).textContent.replaceAll(",", ""))));
    if (shown[0] !== audit.seq && tries < 40) {
      await sleep(500);
      continue;
    }
    assert.deepEqual(shown, [audit.seq, audit.total, audit.available, audit.held, audit.sold]);
    assert.equal(audit.total, STOCK);
    assert.equal(audit.ok, true);
    return;
  }
}

export const office = [
  ["a first password is changed before anything else", changesTheFirstPassword],
  ["a dead letter is replayed and given up", replaysADeadLetter],
  ["a bill is compared and its unmatched money resolved", comparesABill],
  ["a picture says what it shows", describesAPicture],
  ["a board shows what the audit says while the bench sells a sale out", watchesTheBench],
];
