// A shopper's orders.

import { mine, productOfSku } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { date, money, t } from "../i18n.js";
import { countdown, empty, lineTitle, moreButton, picture, show as load, skeletonRows, statusBadge } from "../parts.js";

const PAGE = 20;
const STATES = ["pending_payment", "paid", "shipped", "completed", "refunding", "refunded", "closed"];

export async function show(place, { query, signal }) {
  const status = STATES.includes(query.get("status")) ? query.get("status") : "";
  const filter = (value, label) => h("a", { class: "chip", href: value ? `/orders?status=${value}` : "/orders",
    "aria-current": value === status ? "page" : null }, label);
  const list = h("div");
  fill(place, h("h1", null, t("orders")), h("nav", { class: "chips scroll", "aria-label": t("orders") },
    filter("", t("all")), STATES.map((state) => filter(state, t(state)))), list);
  const path = `/api/v1/orders?limit=${PAGE}${status && `&status=${status}`}`;
  await load(list, skeletonRows(4), async () => {
    const page = await mine(path, { signal });
    if (page.items.length === 0) return empty(t("ordersEmpty"), h("a", { class: "button primary", href: "/" }, t("goShopping")));
    const cards = h("ul", { class: "stack plain" }, page.items.map(card));
    return [cards, moreButton(cards, page.next_cursor, (cursor) => mine(`${path}&cursor=${cursor}`), card)];
  });
  return t("orders");
}

function card(order) {
  const units = order.items.reduce((sum, line) => sum + line.quantity, 0);
  const title = h("b", null, order.items[0]?.title ?? "");
  const arts = order.items.slice(0, 4).map((line, index) => {
    const art = h("div", { class: "line-art" }, picture([], line.title));
    productOfSku(line.sku_id).then((product) => {
      if (!product) return;
      fill(art, picture(product.image_urls, product.title));
      if (index === 0) fill(title, lineTitle(line, product));
    }, () => {});
    return art;
  });
  const waits = order.status === "pending_payment";
  return h("li", { class: "panel order-card" },
    h("div", { class: "row between wrap" }, h("span", { class: "muted" }, date(order.created_at)),
      h("span", { class: "row" }, order.activity_id && h("span", { class: "badge hot" }, icon("bolt"), t("flashSale")), statusBadge(order.status))),
    h("a", { class: "row order-body", href: `/orders/${order.order_id}` }, h("span", { class: "row arts" }, arts),
      h("span", { class: "grow" }, title, h("span", { class: "muted block" }, units === 1 ? t("oneItem") : t("nItems", { n: units }))),
      h("span", { class: "price" }, money(order.total_cents))),
    waits && h("div", { class: "row between wrap" }, h("span", { class: "muted" }, t("wonCountdown"), " ", countdown(order.expires_at)),
      h("a", { class: "button primary", href: `/pay/${order.order_id}` }, t("payNow"))));
}
