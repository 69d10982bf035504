// A shopper at a browser.

let number = 0;

export const PASSWORD = "correct-horse";

export class Shopper {
  /** `init` runs in each page before its scripts. */
  static async open(browser, mall, { init, ...options } = {}) {
    const shopper = new Shopper();
    shopper.mall = mall;
    shopper.faults = [];
    shopper.context = await browser.newContext({ locale: "en-GB", viewport: { width: 390, height: 844 }, ...options });
    if (init) await shopper.context.addInitScript(init);
    shopper.page = await shopper.tab();
    return shopper;
  }

  async tab() {
    const page = await this.context.newPage();
    // A refusal that the page expects is no fault; a script that fails or that the policy stops is one.
    page.on("pageerror", (error) => this.faults.push(error.message));
    page.on("console", (line) => {
      if (line.type() === "error" && !line.text().startsWith("Failed to load resource")) this.faults.push(line.text());
    });
    return page;
  }

  go(path) {
    return this.page.goto(this.mall.shop + path);
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  async register() {
    this.name = `shopper${process.pid}x${++number}`;
    await this.go("/sign-in?mode=register");
    await this.page.locator("input[name=username]").fill(this.name);
    await this.page.locator("input[name=password]").fill(PASSWORD);
    await this.page.locator("form.form button.primary").click();
    await this.page.waitForURL(`${this.mall.shop}/`);
    return this;
  }

  async addAddress({ recipient = "Ada Lovelace", phone = "13800138000", region = "上海市徐汇区", detail = "漕溪北路 88 号" } = {}) {
    await this.button("Add an address").click();
    await this.page.getByLabel("Full name").fill(recipient);
    await this.page.getByLabel("Phone", { exact: true }).fill(phone);
    await this.page.getByLabel("Region and city").fill(region);
    await this.page.getByLabel("Street and number").fill(detail);
    await this.page.locator("dialog").getByRole("button", { name: "Save" }).click();
    await this.page.locator(".address").first().waitFor();
  }

  /** Waits until the sale's headline is `text`; how many milliseconds that took. */
  async sees(text, timeout = 10_000, page = this.page) {
    const began = Date.now();
    await page.locator(".state-title", { hasText: text }).waitFor({ timeout });
    return Date.now() - began;
  }

  /** The mock platform's page, and back. */
  async payAtThePlatform() {
    await this.page.getByRole("button", { name: /^Pay ¥/ }).click();
    await this.page.waitForURL(/mock-pay/);
    await this.page.getByRole("button").click();
    await this.page.waitForURL(`${this.mall.shop}/pay/return`);
    await this.page.getByRole("heading", { name: "Paid. Thank you!" }).waitFor();
  }

  /** The shopper's orders, as the API has them. */
  async orders() {
    const session = await fetch(`${this.mall.shop}/api/v1/sessions`, { method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ username: this.name, password: PASSWORD }) });
    const { access_token: token } = await session.json();
    const orders = await fetch(`${this.mall.shop}/api/v1/orders?limit=100`, { headers: { authorization: `Bearer ${token}` } });
    return (await orders.json()).items;
  }
}
