// Choosing how to pay, until the order's time is over.

import { get, mine } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { money, t } from "../i18n.js";
import { countdown, sentence, skeletonRows } from "../parts.js";

export const PAYING = "mall.paying";
const METHODS = [["mock", "payMock", "payMockHint"], ["alipay", "payAlipay", "payAlipayHint"]];

export async function show(place, { id, signal }) {
  fill(place, h("h1", null, t("payTitle")), skeletonRows(2));
  // A flash-sale order is written a moment after it was won.
  const [order, { methods }] = await Promise.all([mine(`/api/v1/orders/${id}`, { signal }), get("/api/v1/payments/methods", { signal })]);
  fill(place, order.status === "pending_payment" ? choice(order, methods, place) : outcome(order));
  return t("payTitle");
}

/** What became of an order that waits for payment no more. */
export function outcome(order) {
  const closed = order.status === "closed";
  // A unit of a sale is ordered without an address.
  const where = !closed && !order.address;
  const [title, text, next] = closed ? ["payOver", "payOverText", "viewOrder"] : ["payDone", where ? "payDoneWhere" : "payDoneText", where ? "chooseAddress" : "viewOrder"];
  return h("div", { class: `outcome ${closed ? "quiet" : "good"}` },
    h("span", { class: "outcome-sign" }, icon(closed ? "clock" : "check")),
    h("h1", null, t(title)), h("p", { class: "muted" }, t(text)),
    h("p", { class: "price huge" }, money(order.total_cents)),
    h("div", { class: "row center wrap" },
      h("a", { class: "button primary", href: `/orders/${order.order_id}` }, t(next)),
      h("a", { class: "button", href: "/" }, t("goShopping"))));
}

function choice(order, methods, place) {
  let [method] = methods;
  const wrong = h("p", { class: "form-error", role: "alert" });
  const options = h("div", { class: "addresses", role: "radiogroup", "aria-label": t("payTitle") });
  const paint = (offered) => fill(options, METHODS.filter(([name]) => offered.includes(name)).map(([name, label, hint]) =>
    h("label", { class: "address" }, h("input", { type: "radio", name: "method", checked: name === method, onchange: () => (method = name) }),
      h("div", { class: "grow" }, h("b", null, t(label)), h("div", { class: "muted" }, t(hint))))));
  paint(methods);
  const button = h("button", { class: "button primary wide large", onclick: pay, disabled: methods.length === 0 }, t("payGo", { price: money(order.total_cents) }));

  async function pay() {
    button.disabled = true;
    button.textContent = t("payOpening");
    wrong.textContent = "";
    try {
      const { pay_url: url } = await mine(`/api/v1/orders/${order.order_id}/payments`, { method: "POST", body: { method }, tries: 3 });
      localStorage.setItem(PAYING, order.order_id);
      const page = new URL(url, location.href);
      if (page.protocol !== "https:" && page.protocol !== "http:") throw new Error("an address that is no page");
      location.assign(page.href);
    } catch (error) {
      if (error.code === "method_not_offered" && error.body.methods?.length) {
        method = error.body.methods[0];
        paint(error.body.methods);
      }
      wrong.textContent = sentence(error);
      button.disabled = false;
      button.textContent = t("payGo", { price: money(order.total_cents) });
      if (error.code === "invalid_transition") fill(place, outcome(await mine(`/api/v1/orders/${order.order_id}`)));
    }
  }

  const reload = async () => fill(place, outcome({ ...order, status: "closed" }));
  const [before, after] = t("payWithin", { time: "\u0000" }).split("\u0000");
  return h("div", { class: "narrow stack" }, h("h1", null, t("payTitle")),
    h("div", { class: "panel center" }, h("p", { class: "price huge" }, money(order.total_cents)),
      h("p", { class: "muted" }, before, h("b", null, countdown(order.expires_at, reload)), after)),
    h("section", { class: "panel stack" }, methods.length === 0 && h("p", { class: "note" }, t("payNone")), options, wrong, button));
}
