// An order: where it goes, what it is, what it costs.

import { forgetProducts, mine, productOfSku, sleep } from "../api.js";
import { chooseAddress } from "../addresses.js";
import { fill, h } from "../dom.js";
import { local, money, t } from "../i18n.js";
import { attributes, complain, dock, empty, failure, intention, picture, sentence, skeletonRows } from "../parts.js";
import { session } from "../session.js";

/** Refusals after which the page shows what can be ordered now. */
const OUTDATED = new Set(["price_changed", "cart_changed", "cart_empty", "unknown_sku"]);

/** What shoppers see of a price may be seconds old. */
const CATCH_UP_MS = 500;
const CATCH_UP_TRIES = 12;

/** `total`: what the server says it is, where it has refused another one. */
export async function show(place, { query, signal, go }, total) {
  fill(place, h("h1", null, t("checkoutTitle")), skeletonRows(3));
  const [goods, { items: addresses }] = await Promise.all([chosenAt(total, query, signal), mine("/api/v1/addresses", { signal })]);
  if (goods.lines.length === 0) {
    fill(place, h("h1", null, t("checkoutTitle")), empty(t("cartEmpty"), h("a", { class: "button primary", href: "/" }, t("goShopping"))));
    return t("checkoutTitle");
  }
  let address = null;
  const wrong = h("p", { class: "form-error", role: "alert" });
  const button = h("button", { class: "button primary wide large", onclick: place_order }, t("placeOrder"));
  total = totalOf(goods);
  // Another cart, quantity, price or address is another intention.
  const name = () => `order.${address?.address_id}.${total}.${goods.lines.map((line) => `${line.sku_id}x${line.quantity}`).join(".")}`;

  async function place_order() {
    if (!address) return (wrong.textContent = t("needAddress"));
    button.disabled = true;
    button.textContent = t("placing");
    wrong.textContent = "";
    const { key, settled } = intention(name());
    try {
      const order = await mine("/api/v1/orders", { method: "POST", body: { address_id: address.address_id, expected_total_cents: total, ...goods.body }, key });
      settled();
      session.cartChanged();
      await go(`/pay/${order.order_id}`, { replace: true });
    } catch (error) {
      if (!error.passing) settled();
      if (OUTDATED.has(error.code)) {
        complain(error);
        forgetProducts();
        const again = () => go(location.pathname + location.search, { replace: true });
        return show(place, { query, signal, go }, error.body.total_cents).catch((failed) => fill(place, failure(failed, again)));
      }
      wrong.textContent = sentence(error);
      button.disabled = false;
      button.textContent = t("placeOrder");
    }
  }

  fill(place, h("h1", null, t("checkoutTitle")),
    h("div", { class: "with-summary" },
      h("div", { class: "stack" },
        h("section", { class: "panel" }, h("h2", null, t("address")), chooseAddress({ items: addresses, change: (next) => (address = next) })),
        h("section", { class: "panel" }, h("h2", null, t("items")), h("ul", { class: "lines" }, goods.lines.map(row)))),
      h("aside", { class: "panel summary" },
        h("p", { class: "row between" }, h("span", null, t("subtotal")), h("span", null, money(total))),
        h("p", { class: "row between" }, h("span", null, t("delivery")), h("span", null, t("shippingFree"))),
        h("p", { class: "row between total" }, h("span", null, t("total")), h("b", { class: "price" }, money(total))),
        dock(total, button, wrong))));
  return t("checkoutTitle");
}

const totalOf = (goods) => goods.lines.reduce((sum, line) => sum + line.price_cents * line.quantity, 0);

async function chosenAt(total, query, signal) {
  for (let tries = 0; ; tries++) {
    const goods = await chosen(query, signal);
    if (total === undefined || totalOf(goods) === total || tries === CATCH_UP_TRIES || signal.aborted) return goods;
    forgetProducts();
    await sleep(CATCH_UP_MS);
  }
}

/** What is ordered: one SKU, or what the cart has that can be ordered. */
async function chosen(query, signal) {
  const sku = query.get("sku");
  if (!sku) {
    const cart = await mine("/api/v1/cart", { signal });
    return { lines: cart.items.filter((line) => line.state !== "gone"), body: { from_cart: true } };
  }
  const quantity = Math.max(1, Number.parseInt(query.get("quantity"), 10) || 1);
  const product = await productOfSku(sku);
  const found = product?.skus.find((one) => one.sku_id === sku);
  const lines = found ? [{ sku_id: sku, quantity, title: product.title, attributes: found.attributes, price_cents: found.price_cents }] : [];
  return { lines, body: { items: [{ sku_id: sku, quantity }] } };
}

function row(line) {
  const art = h("div", { class: "line-art" }, picture([], line.title));
  productOfSku(line.sku_id).then((product) => product && fill(art, picture(product.image_urls, product.title)), () => {});
  return h("li", { class: "line" }, art,
    h("div", { class: "line-text" }, h("p", { class: "name" }, local(line.title)), h("p", { class: "muted" }, attributes(line.attributes))),
    h("div", { class: "line-end" }, h("p", { class: "price" }, money(line.price_cents * line.quantity)), h("p", { class: "muted" }, `× ${line.quantity}`)));
}
