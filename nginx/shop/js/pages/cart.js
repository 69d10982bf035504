// The cart, priced as of now.

import { get, mine } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { local, money, t } from "../i18n.js";
import { attributes, complain, dock, empty, picture, show as load, skeletonRows, stepper } from "../parts.js";
import { session } from "../session.js";

const SEND_AFTER_MS = 400;
const UNITS_MAX = 99;

export async function show(place, { signal }) {
  const body = h("div", { class: "stack" });
  fill(place, h("h1", null, t("cart")), body);
  await load(body, skeletonRows(3), async () => paint(body, await mine("/api/v1/cart", { signal })));
  return t("cart");
}

function paint(body, cart) {
  if (cart.items.length === 0) return empty(t("cartEmpty"), h("a", { class: "button primary", href: "/" }, t("goShopping")));
  const total = h("b", { class: "price" }, money(cart.total_cents));
  const blocked = cart.items.some((line) => line.state === "insufficient_stock");
  const change = async (ask) => {
    try {
      fill(body, paint(body, await ask()));
      session.cartChanged();
    } catch (error) {
      complain(error);
      fill(body, paint(body, await mine("/api/v1/cart")));
    }
  };
  return h("div", { class: "with-summary" },
    h("ul", { class: "lines panel" }, cart.items.map((line) => row(line, change))),
    h("aside", { class: "panel summary" },
      h("p", { class: "row between" }, h("span", null, t("subtotal")), h("span", null, money(cart.total_cents))),
      h("p", { class: "row between" }, h("span", null, t("delivery")), h("span", null, t("shippingFree"))),
      h("p", { class: "row between total" }, h("span", null, t("total")), total),
      dock(cart.total_cents, blocked || cart.total_cents === 0
        ? h("button", { class: "button primary wide large", disabled: true }, t("checkout"))
        : h("a", { class: "button primary wide large", href: "/checkout" }, t("checkout")), blocked && h("p", { class: "form-error" }, t("cartFix")))));
}

function row(line, change) {
  const path = `/api/v1/cart/items/${line.sku_id}`;
  const art = h("div", { class: "line-art" }, picture([], line.title ?? "?"));
  if (line.product_id) {
    get(`/api/v1/products/${line.product_id}`).then((product) => fill(art, picture(product.image_urls, product.title)), () => {});
  }
  let timer = 0;
  const steps = stepper({ value: line.quantity, max: Math.max(1, Math.min(UNITS_MAX, line.stock ?? 1)), label: `${t("quantity")}: ${local(line.title ?? "")}`,
    change: (quantity) => {
      clearTimeout(timer);
      timer = setTimeout(() => change(() => mine(path, { method: "PUT", body: { quantity } })), SEND_AFTER_MS);
    } });
  const title = line.title ? h("a", { href: `/product/${line.product_id}` }, local(line.title)) : t("gone");
  return h("li", { class: `line ${line.state}` }, art,
    h("div", { class: "line-text" }, h("p", { class: "name" }, title), h("p", { class: "muted" }, attributes(line.attributes)), note(line)),
    h("div", { class: "line-end" }, line.price_cents !== undefined && h("p", { class: "price" }, money(line.price_cents * line.quantity)),
      h("div", { class: "row" }, line.state !== "gone" && steps,
        h("button", { class: "icon-button", "aria-label": `${t("remove")}: ${local(line.title ?? "")}`,
          onclick: () => change(() => mine(path, { method: "DELETE" }).then((cart) => cart ?? mine("/api/v1/cart"))) }, icon("trash")))));
}

function note(line) {
  if (line.state === "gone") return h("p", { class: "note" }, t("lineGone"));
  if (line.state === "insufficient_stock") return h("p", { class: "note" }, t("lineShort", { n: line.stock }));
  if (line.state === "price_changed") return h("p", { class: "note" }, t("linePrice", { was: money(line.price_was_cents), price: money(line.price_cents) }));
  return null;
}
