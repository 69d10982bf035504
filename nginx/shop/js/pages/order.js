// One order: where it is, and what can be done with it.

import { mine, productOfSku } from "../api.js";
import { chooseAddress } from "../addresses.js";
import { fill, h, icon, toast } from "../dom.js";
import { date, known, money, t } from "../i18n.js";
import { addressLine, ask, complain, confirmation, countdown, form, intention, lineTitle, picture, skeletonRows, statusBadge } from "../parts.js";

const STEPS = ["placed", "paid", "shipped", "completed"];
const REACHED = { pending_payment: 1, paid: 2, shipped: 3, completed: 4 };
const REASON_MAX = 200;

export async function show(place, { id, signal }) {
  fill(place, h("h1", null, t("orderTitle")), skeletonRows(3));
  const path = `/api/v1/orders/${id}`;
  const paint = (order) => fill(place, content(order, act));

  /** Does something with the order, and shows it as it is afterwards in any case. */
  async function act(work, said) {
    try {
      if ((await work()) !== false && said) toast(t(said));
    } catch (error) {
      complain(error);
    }
    const order = await mine(path, { signal }).catch(() => null);
    if (order && !signal.aborted) paint(order);
  }

  paint(await mine(path, { signal }));
  return t("orderTitle");
}

function content(order, act) {
  return [
    h("div", { class: "row between wrap" }, h("h1", null, t("orderTitle")), statusBadge(order.status)),
    timeline(order),
    h("div", { class: "with-summary summary-first" },
      h("div", { class: "stack" },
        h("section", { class: "panel" }, h("h2", null, t("items")), h("ul", { class: "lines" }, order.items.map(row))),
        delivery(order, act)),
      h("aside", { class: "panel summary" },
        h("p", { class: "muted" }, `${t("orderNo")} `, h("span", { class: "number" }, order.order_id)),
        h("p", { class: "muted" }, `${t("orderTime")}: ${date(order.created_at)}`),
        h("p", { class: "row between total" }, h("span", null, t("total")), h("b", { class: "price" }, money(order.total_cents))),
        actions(order, act))),
  ];
}

function timeline(order) {
  const reached = REACHED[order.status];
  if (!reached) return h("div", { class: "notice quiet", role: "status" }, icon(order.status === "closed" ? "clock" : "shield"),
    h("div", null, h("b", null, t(order.status)), known(`after_${order.status}`) && h("p", null, t(`after_${order.status}`))));
  return h("ol", { class: "timeline" }, STEPS.map((step, index) => h("li", { class: index < reached ? "done" : "", "aria-current": index === reached - 1 ? "step" : null },
    h("span", { class: "dot" }, index < reached && icon("check")), h("span", null, t(`line_${step}`)))));
}

function row(line) {
  const art = h("div", { class: "line-art" }, picture([], line.title));
  const title = h("p", { class: "name" }, line.title);
  productOfSku(line.sku_id).then((product) => {
    if (!product) return;
    fill(art, picture(product.image_urls, product.title));
    fill(title, h("a", { href: `/product/${product.product_id}` }, lineTitle(line, product)));
  }, () => {});
  return h("li", { class: "line" }, art, h("div", { class: "line-text" }, title, h("p", { class: "muted" }, `× ${line.quantity}`)),
    h("div", { class: "line-end" }, h("p", { class: "price" }, money(line.price_cents * line.quantity))));
}

function delivery(order, act) {
  const changeable = ["pending_payment", "paid"].includes(order.status);
  if (!order.address && !changeable) return null;
  const label = t(order.address ? "changeAddress" : "chooseAddress");
  const change = () => act(async () => {
    const { items } = await mine("/api/v1/addresses");
    let chosen = null;
    const answer = await ask(label, (done) => {
      const save = h("button", { class: "button primary wide", onclick: () => done(chosen) }, t("useAddress"));
      const change = (next) => {
        chosen = next;
        save.hidden = !chosen;
      };
      return h("div", { class: "stack" }, chooseAddress({ items, change }), save);
    });
    if (!answer) return false;
    await mine(`/api/v1/orders/${order.order_id}/address`, { method: "PUT", body: { address_id: answer.address_id } });
  }, "addressChanged");
  return h("section", { class: "panel" }, h("h2", { class: "with-icon" }, icon("pin"), t("address")),
    order.address
      ? h("div", null, h("b", null, order.address.recipient), " ", h("span", { class: "muted" }, order.address.phone), h("p", null, addressLine(order.address)))
      : h("p", { class: "note" }, t("noAddressOnOrder")),
    order.shipment && h("p", { class: "row" }, icon("truck"), `${t("shipment")}: ${order.shipment.carrier} ${order.shipment.tracking_no}`),
    changeable && h("button", { class: `button ${order.address ? "" : "primary"}`, onclick: change }, label));
}

function actions(order, act) {
  const at = `/api/v1/orders/${order.order_id}`;
  const post = (what) => mine(`${at}/${what}`, { method: "POST" });
  const cancel = () => act(async () => (await confirmation(t("cancelSure"), t("cancelOrder"))) ? post("cancel") : false, "orderCancelled");
  const refund = () => act(async () => (await askRefund(order)) ?? false, "refundSent");
  if (order.status === "pending_payment") {
    return h("div", { class: "stack" }, h("p", { class: "muted" }, t("wonCountdown"), " ", countdown(order.expires_at, () => setTimeout(() => act(async () => false), 1500))),
      h("a", { class: "button primary wide", href: `/pay/${order.order_id}` }, t("payNow")),
      h("button", { class: "button wide", onclick: cancel }, t("cancelOrder")));
  }
  const receive = order.status === "shipped" && h("button", { class: "button primary wide", onclick: () => act(() => post("receipt")) }, t("confirmReceipt"));
  const refundable = ["paid", "shipped", "completed"].includes(order.status) && h("button", { class: "button wide", onclick: refund }, t("askRefund"));
  return h("div", { class: "stack" }, receive, refundable);
}

function askRefund(order) {
  return ask(t("askRefund"), (done) => form({
    fields: [h("div", { class: "field" }, h("label", { for: "f-reason" }, t("refundReason")),
      h("textarea", { id: "f-reason", name: "reason", class: "input", maxlength: REASON_MAX, rows: 3, autofocus: true }))],
    action: t("refundSend"),
    submit: async ({ reason }) => {
      const { key, settled } = intention(`refund.${order.order_id}`);
      done(await mine(`/api/v1/orders/${order.order_id}/refunds`, { method: "POST", body: { reason }, key }));
      settled();
    },
  }));
}
