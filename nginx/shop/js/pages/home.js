// Sales that run or come, categories, new products.

import { get, productOfSku, sale } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { local, money, t } from "../i18n.js";
import { countdown, empty, failure, moreButton, picture, productCard, show as load, skeletonCards } from "../parts.js";

/** Full rows of five and of two. */
const NEW = 10;
const NEW_EAGER = 2;
const ORDER = { open: 0, scheduled: 1, paused: 2, sold_out: 3, ended: 4 };

export async function show(place, { signal }) {
  const sales = h("section", { class: "stack", "aria-labelledby": "sales" });
  const categories = h("section", { "aria-labelledby": "categories" });
  const products = h("section", { class: "stack", "aria-labelledby": "newest" });
  const hero = h("div", { class: "hero" });
  fill(place, fill(hero, slogan()), sales, categories, products);
  loadSales(sales, hero, signal);
  const heading = h("h2", { id: "categories" }, t("categories"));
  const tiles = h("div", { class: "tiles" }, Array.from({ length: 6 }, () => h("div", { class: "tile skeleton" }, h("div", { class: "picture" }), h("span", { class: "name" }, h("span", { class: "bar" })))));
  fill(categories, heading, tiles);
  get("/api/v1/categories", { signal }).then(({ items }) => fill(tiles, items.map((category) => tile(category, signal))))
    .catch((error) => signal.aborted || fill(tiles, failure(error)));
  const list = h("div");
  fill(products, h("h2", { id: "newest" }, t("newest")), list);
  load(list, skeletonCards(8), async () => {
    const path = `/api/v1/products?limit=${NEW}`;
    const page = await get(path, { signal });
    if (page.items.length === 0) return empty(t("noProducts"));
    const grid = h("div", { class: "grid" }, page.items.map((product, index) => productCard(product, index < NEW_EAGER)));
    return [grid, moreButton(grid, page.next_cursor, (cursor) => get(`${path}&cursor=${cursor}`), productCard)];
  }).catch(() => {});
  return t("home");
}

/** A category with the picture of its newest product. */
function tile(category, signal) {
  const art = h("div", { class: "picture" });
  get(`/api/v1/products?category_id=${category.category_id}&limit=1`, { signal, tries: 1 })
    .then(({ items: [product] }) => product && art.replaceWith(picture(product.image_urls, product.title))).catch(() => {});
  return h("a", { class: "tile", href: `/category/${category.category_id}` }, art, h("span", { class: "name" }, local(category.name)));
}

const slogan = () => h("div", null, h("h1", null, t("heroTitle")), h("p", null, t("heroText")));

async function loadSales(place, hero, signal) {
  const heading = h("h2", { id: "sales", class: "with-icon" }, icon("bolt"), t("flashSale"));
  const list = h("div", { class: "sales" }, Array.from({ length: 3 }, () => h("div", { class: "card sale-card skeleton" },
    h("div", { class: "picture" }), h("div", { class: "card-body" }, h("span", { class: "bar short" }), h("span", { class: "bar" }), h("span", { class: "bar short" })))));
  place.hidden = false;
  fill(place, heading, list);
  try {
    const { items } = await sale("/api/v1/seckill/activities", { signal });
    const shown = items.filter((activity) => activity.state !== "ended").sort((a, b) => ORDER[a.state] - ORDER[b.state]);
    if (shown.length === 0) {
      fill(hero, slogan());
      return fill(list, empty(t("noSales")));
    }
    const again = () => signal.aborted || loadSales(place, hero, signal);
    if (["open", "scheduled"].includes(shown[0].state)) lead(hero, shown.shift(), again);
    else fill(hero, slogan());
    fill(list, shown.slice(0, 6).map((activity) => card(activity, again)));
    place.hidden = shown.length === 0;
  } catch (error) {
    if (!signal.aborted) fill(list, failure(error, () => loadSales(place, hero, signal)));
  }
}

/** The first sale in large. Its picture has its place from the start, so nothing moves when it comes. */
function lead(hero, activity, moved) {
  const art = h("div", { class: "picture" });
  productOfSku(activity.sku_id).then((product) => product && art.replaceWith(picture(product.image_urls, product.title, { eager: true }))).catch(() => {});
  const open = activity.state === "open";
  const [label, until] = open ? ["ends", activity.ends_at] : ["begins", activity.starts_at];
  fill(hero, h("a", { class: "lead-sale", href: `/sale/${activity.activity_id}` },
    h("div", { class: "lead-text" },
      h("p", { class: "eyebrow" }, icon("bolt"), t(open ? "running" : "coming")),
      h("h1", null, local(activity.title)),
      h("p", { class: "row baseline wrap" }, h("span", { class: "price huge" }, money(activity.price_cents)), h("s", null, money(activity.original_price_cents))),
      h("p", null, t(label), " ", countdown(until, () => setTimeout(moved, 1000))),
      h("span", { class: "button" }, t(open ? "toSale" : "toSaleSoon"), icon("next"))),
    art));
}

function card(activity, moved) {
  const art = h("div", { class: "picture" });
  productOfSku(activity.sku_id).then((product) => {
    if (product) art.replaceWith(picture(product.image_urls, product.title));
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
