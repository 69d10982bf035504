// Somebody of the staff at a browser.

export class Staff {
  constructor(mall, page) {
    this.mall = mall;
    this.page = page;
  }

  static async signIn(mall, shopper, username = "admin", password = mall.password) {
    const staff = new Staff(mall, shopper.page);
    await staff.go("/");
    await staff.page.getByLabel("User name").fill(username);
    await staff.page.getByLabel("Password").fill(password);
    await staff.press("Sign in");
    await staff.page.getByRole("heading", { name: "Overview" }).waitFor();
    return staff;
  }

  /** Signs in for the first time, and replaces the password that somebody else has chosen. */
  static async settle(mall, shopper, username, password) {
    const staff = new Staff(mall, shopper.page);
    await staff.go("/");
    await staff.page.getByLabel("User name").fill(username);
    await staff.page.getByLabel("Password").fill(password);
    await staff.press("Sign in");
    await staff.fill("Present password", password);
    await staff.fill("New password", `${password}, my own`);
    await staff.fill("New password again", `${password}, my own`);
    await staff.press("Change the password");
    await staff.page.getByRole("heading", { name: "Overview" }).waitFor();
    return staff;
  }

  go(path) {
    return this.page.goto(`${this.mall.admin}/admin${path}`);
  }

  async fill(label, text) {
    await this.page.getByLabel(label, { exact: true }).fill(text);
  }

  async press(name, within = this.page) {
    await within.getByRole("button", { name, exact: true }).click();
  }

  async follow(name, within = this.page) {
    await within.getByRole("link", { name, exact: true }).first().click();
  }

  sees(text) {
    return this.page.getByText(text, { exact: false }).first().waitFor();
  }

  /** The number in an element of the board. */
  async number(id) {
    return Number((await this.page.locator(`#${id}`).textContent()).replaceAll(",", ""));
  }
}
