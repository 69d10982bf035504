// A product: gallery, choice of SKU, cart.

import { get, mine, sale } from "../api.js";
import { fill, h, icon, toast } from "../dom.js";
import { local, money, t } from "../i18n.js";
import { complain, largePicture, productCard, stepper } from "../parts.js";
import { session } from "../session.js";

const FEW = 10;
const QUANTITY_MAX = 99;
const SIMILAR = 5;

export async function show(place, { id, signal, go }) {
  fill(place, h("div", { class: "split skeleton", "aria-hidden": "true" }, h("div", { class: "gallery" }, h("div", { class: "picture" })),
    h("div", { class: "stack" }, h("span", { class: "bar tall" }), h("span", { class: "bar" }), h("span", { class: "bar short" }))));
  const product = await get(`/api/v1/products/${id}`, { signal });
  const title = local(product.title);
  const names = [...new Set(product.skus.flatMap((sku) => Object.keys(sku.attributes)))];
  let sku = product.skus.find((one) => one.stock > 0) ?? product.skus[0];
  let quantity = 1;

  const price = h("p", { class: "price huge" });
  const stock = h("p", { class: "stock", role: "status" });
  const options = h("div", { class: "stack" });
  const inSale = h("div");
  const similar = h("section", { class: "stack", "aria-labelledby": "similar" });
  const steps = stepper({ value: 1, max: QUANTITY_MAX, change: (value) => (quantity = value) });
  const add = h("button", { class: "button wide large", onclick: addToCart }, icon("cart"), t("addToCart"));
  const buy = h("button", { class: "button primary wide large", onclick: () =>
    go(session.likely ? `/checkout?sku=${sku.sku_id}&quantity=${quantity}` : `/sign-in?next=${encodeURIComponent(location.pathname)}`) }, t("buyNow"));

  const fits = (one, name, value) => names.every((other) => one.attributes[other] === (other === name ? value : sku.attributes[other]));

  function paint() {
    price.textContent = sku ? money(sku.price_cents) : "";
    const left = sku?.stock ?? 0;
    stock.className = `stock ${left === 0 ? "none" : left <= FEW ? "few" : ""}`;
    stock.textContent = left === 0 ? t("stockNone") : left <= FEW ? t("stockFew", { n: left }) : t("stockMany");
    add.disabled = buy.disabled = left === 0;
    steps.setMax(Math.min(QUANTITY_MAX, Math.max(1, left)));
    fill(options, names.map(choices));
  }

  function choices(name) {
    const values = [...new Set(product.skus.map((one) => one.attributes[name]).filter(Boolean))];
    const choose = (value) => {
      sku = product.skus.find((one) => fits(one, name, value)) ?? product.skus.find((one) => one.attributes[name] === value);
      paint();
      [...options.querySelectorAll("input:checked")].find((input) => input.name === name)?.focus();
    };
    return h("fieldset", { class: "choices" }, h("legend", null, local(name)), h("div", { class: "chips" }, values.map((value) => {
      const offered = product.skus.some((one) => fits(one, name, value) && one.stock > 0);
      return h("label", { class: `chip choice ${offered ? "" : "dim"}` }, h("input", { type: "radio", name, value, checked: sku.attributes[name] === value,
        onchange: () => choose(value) }), h("span", null, local(value)));
    })));
  }

  async function addToCart() {
    if (!session.likely) return go(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
    add.disabled = true;
    try {
      await mine("/api/v1/cart/items", { method: "POST", body: { sku_id: sku.sku_id, quantity } });
      toast(t("added"));
      session.cartChanged();
    } catch (error) {
      if (error.status === 401) return go(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
      complain(error);
    }
    add.disabled = false;
  }

  fill(place,
    h("div", { class: "split" }, gallery(product),
      h("div", { class: "stack" },
        h("div", null, h("h1", null, title), product.subtitle && h("p", { class: "lead muted" }, local(product.subtitle))),
        price, inSale, options, h("div", { class: "row wrap" }, steps, stock),
        h("div", { class: "row buy-row" }, add, buy),
        h("ul", { class: "promises" }, [["truck", "promise1"], ["clock", "promise2"], ["shield", "promise3"]].map(([name, key]) =>
          h("li", null, icon(name), t(key)))))),
    product.description && h("section", { class: "panel prose" }, h("h2", null, t("description")), h("p", { class: "pre" }, local(product.description))),
    similar);
  paint();
  get(`/api/v1/products?category_id=${product.category_id}&limit=${SIMILAR + 1}`, { signal }).then(({ items }) => {
    const others = items.filter((one) => one.product_id !== product.product_id).slice(0, SIMILAR);
    if (others.length > 0) fill(similar, h("h2", { id: "similar" }, t("alsoLike")), h("div", { class: "grid one-row" }, others.map((one) => productCard(one))));
  }).catch(() => {});
  sale("/api/v1/seckill/activities", { signal }).then(({ items }) => {
    const found = items.find((one) => ["open", "scheduled"].includes(one.state) && product.skus.some((own) => own.sku_id === one.sku_id));
    if (found) fill(inSale, h("a", { class: "notice hot", href: `/sale/${found.activity_id}` }, icon("bolt"), h("span", null, t("onSale", { price: money(found.price_cents) })), icon("next")));
  }).catch(() => {});
  return title;
}

function gallery(product) {
  const shown = (index) => largePicture(product.image_urls, product.title, { index, alt: product.image_alts[index] });
  const main = h("div", null, shown(0));
  const thumbs = h("div", { class: "thumbs" });
  const select = (index) => {
    fill(main, shown(index));
    [...thumbs.children].forEach((thumb, at) => thumb.setAttribute("aria-pressed", String(at === index)));
  };
  if (product.image_urls.length > 1) {
    fill(thumbs, product.image_urls.map((url, index) => h("button", { class: "thumb", "aria-label": local(product.image_alts[index]) || t("picture", { n: index + 1 }),
      "aria-pressed": String(index === 0), onclick: () => select(index) }, h("img", { src: url, alt: "", width: 80, height: 80 }))));
  }
  return h("div", { class: "gallery" }, main, thumbs);
}
