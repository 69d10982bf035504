// Sales that run or come, categories, new products.

import { get, productOfSku, sale } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { local, money, t } from "../i18n.js";
import { countdown, empty, failure, picture, productCard, show as load, skeletonCards } from "../parts.js";

const NEW = 12;
const NEW_EAGER = 2;
const ORDER = { open: 0, scheduled: 1, paused: 2, sold_out: 3, ended: 4 };

export async function show(place, { signal }) {
  const sales = h("section", { class: "stack", "aria-labelledby": "sales" });
  const categories = h("section", { "aria-labelledby": "categories" });
  const products = h("section", { class: "stack", "aria-labelledby": "newest" });
  fill(place,
    h("div", { class: "hero" }, h("div", null, h("h1", null, t("heroTitle")), h("p", null, t("heroText")))),
    sales, categories, products);
  loadSales(sales, signal);
  const heading = h("h2", { id: "categories" }, t("categories"));
  const chips = h("div", { class: "chips" }, Array.from({ length: 6 }, () => h("span", { class: "chip skeleton" }, "\u2003\u2003\u2003")));
  fill(categories, heading, chips);
  get("/api/v1/categories", { signal }).then(({ items }) => fill(chips, items.map((category) =>
    h("a", { class: "chip", href: `/category/${category.category_id}` }, local(category.name)))))
    .catch((error) => signal.aborted || fill(chips, failure(error)));
  const list = h("div");
  fill(products, h("h2", { id: "newest" }, t("newest")), list);
  load(list, skeletonCards(8), async () => {
    const { items } = await get(`/api/v1/products?limit=${NEW}`, { signal });
    if (items.length === 0) return empty(t("noProducts"));
    return h("div", { class: "grid" }, items.map((product, index) => productCard(product, index < NEW_EAGER)));
  }).catch(() => {});
  return t("home");
}

async function loadSales(place, signal) {
  const heading = h("h2", { id: "sales", class: "with-icon" }, icon("bolt"), t("flashSale"));
  const list = h("div", { class: "sales" }, Array.from({ length: 3 }, () => h("div", { class: "card sale-card skeleton" },
    h("div", { class: "picture" }), h("div", { class: "card-body" }, h("span", { class: "bar short" }), h("span", { class: "bar" }), h("span", { class: "bar short" })))));
  fill(place, heading, list);
  try {
    const { items } = await sale("/api/v1/seckill/activities", { signal });
    const shown = items.filter((activity) => activity.state !== "ended").sort((a, b) => ORDER[a.state] - ORDER[b.state]);
    if (shown.length === 0) return fill(list, empty(t("noSales")));
    fill(list, shown.slice(0, 6).map((activity, index) => card(activity, index === 0, () => signal.aborted || loadSales(place, signal))));
  } catch (error) {
    if (!signal.aborted) fill(list, failure(error, () => loadSales(place, signal)));
  }
}

function card(activity, first, moved) {
  const art = h("div", { class: "picture" });
  productOfSku(activity.sku_id).then((product) => {
    if (product) art.replaceWith(picture(product.image_urls, product.title, { eager: first }));
  }).catch(() => {});
  const word = activity.state === "open" ? "running" : activity.state === "scheduled" ? "coming" : activity.state === "paused" ? "s_paused" : "past";
  const timer = activity.state === "scheduled" ? ["begins", activity.starts_at] : activity.state === "open" ? ["ends", activity.ends_at] : null;
  return h("a", { class: "card sale-card", href: `/sale/${activity.activity_id}`, "data-state": activity.state },
    art,
    h("div", { class: "card-body" },
      h("span", { class: `badge state-${activity.state}` }, t(word)),
      h("p", { class: "name" }, local(activity.title)),
      h("p", { class: "row baseline" }, h("span", { class: "price" }, money(activity.price_cents)),
        h("s", { class: "muted" }, money(activity.original_price_cents))),
      h("p", { class: "muted timer-line" }, timer ? [t(timer[0]), " ", countdown(timer[1], () => setTimeout(moved, 1000))] : t(`band_${activity.stock_left_band}`))));
}
