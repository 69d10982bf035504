// A mall of the test's own, and what an admin does in it.

import { execFileSync, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_MAX_MS = 30_000;
const PASSWORD = "browser-admin-password";
const SHOPPER_SECRET = "the shoppers' secret of the browser tests";

/** Unpaid orders are closed after this. */
export const PAY_WITHIN_MS = 20_000;

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Mall {
  static async start() {
    const mall = new Mall();
    mall.planted = 0;
    mall.directory = mkdtempSync(join(tmpdir(), "browser-"));
    [mall.gateway, mall.shop, mall.admin] = (await freePorts(3)).map((port) => `http://127.0.0.1:${port}`);
    const at = (url) => url.slice("http://".length);
    const env = { MALL_DATA_DIR: join(mall.directory, "data"), MALL_AUTH__BCRYPT_COST: "4", MALL_ADMIN_PASSWORD: PASSWORD, MALL_AUTH__SHOPPER_SECRET: SHOPPER_SECRET, MALL_LOG__LEVEL: "error",
      MALL_GATEWAY__LISTEN: at(mall.gateway), MALL_ORDER_CORE__LISTEN: at(mall.shop), MALL_ADMIN__LISTEN: at(mall.admin),
      MALL_LIMITS__SIGN_IN_MAX: "0", MALL_LIMITS__WRITE_MAX: "0", MALL_LIMITS__READ_MAX: "0", MALL_ORDERS__PAY_WITHIN_MS: String(PAY_WITHIN_MS) };
    mall.process = spawn(process.env.MALL, { env, stdio: ["ignore", "pipe", "inherit"] });
    mall.output = "";
    mall.process.stdout.on("data", (data) => (mall.output += data));
    for (let waited = 0; ; waited += 100) {
      const ready = await fetch(`${mall.gateway}/readyz`).catch(() => null);
      if (ready?.ok) break;
      if (waited > START_MAX_MS || mall.process.exitCode !== null) throw new Error("the mall does not start");
      await sleep(100);
    }
    const session = await mall.call("/sessions", { username: "admin", password: PASSWORD });
    mall.token = session.access_token;
    mall.password = PASSWORD;
    mall.shopperSecret = SHOPPER_SECRET;
    return mall;
  }

  async stop() {
    const ended = new Promise((done) => this.process.once("exit", done));
    this.process.kill("SIGTERM");
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }

  async call(path, body, method = "POST", more = {}) {
    const headers = { "content-type": "application/json", ...more, ...(this.token && { authorization: `Bearer ${this.token}` }) };
    const answer = await fetch(`${this.admin}/admin/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** A command that nobody can read, straight into the outbox, as a fault of an older version might have left it. */
  plantUnreadable() {
    const row = `INSERT INTO outbox (id, topic, record_key, record) VALUES (${++this.planted}, 'seckill.commands', x'31', x'00')`;
    const script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=30); c.execute(sys.argv[2]); c.commit()";
    execFileSync("python3", ["-c", script, join(this.directory, "data", "mall.db"), row]);
  }

  /** Has a bill compared that names a trade the shop does not know. */
  async bill(trade) {
    const row = `${trade}\t,12345\t,x,a,2027-01-15 16:00:00,2027-01-15 16:00:01,,,,,a,199.00,199.00,0,0,0,0,0,,0,0,,0,0,\r\n`;
    const body = `#支付宝业务明细查询\r\n支付宝交易号,商户订单号,业务类型\r\n${row}#end\r\n`;
    const answer = await fetch(`${this.admin}/admin/api/v1/payments/bill?method=alipay&date=2027-01-15`, { method: "POST", headers: { authorization: `Bearer ${this.token}` }, body });
    if (!answer.ok) throw new Error(await answer.text());
  }

  /** A challenge as the gateway seals it (`contract::ticket`), with an answer that the test knows. */
  challenge(activity, user, answer) {
    const number = (value) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(BigInt(value));
      return bytes;
    };
    const key = createHmac("sha256", SHOPPER_SECRET).update("mall entry tickets v1").digest();
    const stated = Buffer.concat([number(Date.now() + 60_000), randomBytes(8)]);
    const challenge = 2;
    const mac = createHmac("sha256", key).update(Buffer.from([challenge])).update(number(activity)).update(number(user)).update(stated).update(answer).digest();
    return Buffer.concat([stated, mac.subarray(0, 16)]).toString("base64url");
  }

  async products() {
    return (await (await fetch(`${this.shop}/api/v1/products?limit=100`)).json()).items;
  }

  /** A product with one SKU. */
  async product({ title, subtitle = "", description = "", attributes = { "颜色 / Colour": "黑 / Black" }, category }) {
    const categories = (await (await fetch(`${this.shop}/api/v1/categories`)).json()).items;
    const product = await this.call("/products", { title, subtitle, description, category_id: category ?? categories[0].category_id });
    const sku = await this.call(`/products/${product.product_id}/skus`, { attributes, price_cents: 100_00, stock: 100 });
    await this.call(`/products/${product.product_id}/shelve`);
    return { ...product, sku };
  }

  /** When a sale starts, epoch milliseconds. It takes a while to add one, so this is later than its `startsIn` from the call. */
  async startOf(sale) {
    const known = await fetch(`${this.gateway}/api/v1/seckill/activities/${sale}`);
    return Date.parse((await known.json()).starts_at);
  }

  /** A sale that the gateway knows. */
  async sale({ title = "Sale", stock = 1, startsIn = 0, lasts = 3_600_000, product, ...more }) {
    const { sku } = product ?? (await this.product({ title: `Goods of ${title}` }));
    const at = (ms) => new Date(Date.now() + ms).toISOString();
    const sale = await this.call("/activities", { title, sku_id: sku.sku_id, price_cents: 9_00, stock, per_user_limit: 1,
      starts_at: at(startsIn), ends_at: at(lasts), ...more });
    for (let tries = 0; tries < 100; tries++) {
      const known = await fetch(`${this.gateway}/api/v1/seckill/activities/${sale.activity_id}`).catch(() => null);
      const state = known?.ok ? (await known.json()).state : null;
      if (state === "scheduled" || state === "open") return sale.activity_id;
      await sleep(50);
    }
    throw new Error(`the sale ${title} does not open`);
  }
}

async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => done(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
