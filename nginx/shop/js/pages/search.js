// Full-text search with facets.

import { get, Problem } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { local, money, t } from "../i18n.js";
import { empty, moreButton, picture, show as load, skeletonCards } from "../parts.js";

const SORTS = ["relevance", "price_asc", "price_desc", "newest", "sales"];
const KEPT = ["q", "category_id", "min_price_cents", "max_price_cents", "sort"];

export async function show(place, { query, signal, go }) {
  const q = (query.get("q") ?? "").trim();
  const categories = get("/api/v1/categories", { signal }).then(({ items }) => new Map(flat(items)), () => new Map());
  const change = (changes) => {
    const next = new URLSearchParams();
    for (const name of KEPT) {
      const value = name in changes ? changes[name] : query.get(name);
      if (value) next.set(name, value);
    }
    go(`/search?${next}`);
  };
  const facets = h("aside", { class: "facets", "aria-label": t("categories") });
  const list = h("div", { class: "stack" });
  const sort = h("select", { class: "input", "aria-label": t("sort"), onchange: (event) => change({ sort: event.currentTarget.value }) },
    SORTS.map((name) => h("option", { value: name, selected: name === (query.get("sort") ?? "relevance") }, t(`sort_${name}`))));
  const layout = h("div", null, facets, list);
  const offer = (filters, order) => {
    layout.classList.toggle("with-facets", filters);
    [facets.hidden, sort.hidden] = [!filters, !order];
  };
  offer(q !== "", q !== "");
  fill(place, h("div", { class: "row between wrap" }, h("h1", { class: "results-for" }, q ? t("resultsFor", { q }) : t("searchTitle")), sort), layout);
  await load(list, skeletonCards(8), async () => {
    const asked = new URLSearchParams(KEPT.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
    if (!asked.get("q")) return [empty(t("searchStart"), null, "search"), chips(await categories)];
    asked.set("facets", "true");
    const path = `/api/v1/search?${asked}`;
    let page;
    try {
      page = await get(path, { signal, tries: 2 });
    } catch (error) {
      offer(false, false);
      if (error instanceof Problem && [404, 503].includes(error.status)) return away(await categories);
      throw error;
    }
    const narrowed = KEPT.some((name) => name !== "q" && name !== "sort" && query.get(name));
    const found = page.items.length > 0;
    offer(found || narrowed, found);
    if (found || narrowed) paintFacets(facets, page.facets, await categories, query, change);
    if (!found) return [empty(t(narrowed ? "noneLeft" : "noResults", { q }), null, "search"), narrowed ? null : chips(await categories)];
    const grid = h("div", { class: "grid" }, page.items.map(hit));
    return [grid, moreButton(grid, page.next_cursor, (cursor) => get(`${path}&cursor=${cursor}`), hit)];
  });
  return q ? t("resultsFor", { q }) : t("search");
}

const flat = (tree) => tree.flatMap((category) => [[category.category_id, category.name], ...flat(category.children)]);

const chips = (categories) => h("div", { class: "chips center" }, [...categories].slice(0, 12).map(([id, name]) =>
  h("a", { class: "chip", href: `/category/${id}` }, local(name))));

/** Search is down or not there: the rest of the shop is. */
function away(categories) {
  return [h("div", { class: "empty", role: "status" }, icon("search"), h("p", null, t("searchAway"))), chips(categories)];
}

/** Text with what was found marked. The halves of a bilingual title come in pieces, so they are told apart first. */
function marked(fragments, text) {
  if (!Array.isArray(fragments) || (text ?? "").split(" / ").length === 2) return local(text);
  return fragments.map((piece) => (piece.matched ? h("mark", null, piece.text) : piece.text));
}

function hit(item) {
  const product = item.product ?? item;
  const highlights = item.highlights ?? {};
  return h("a", { class: "card product", href: `/product/${product.product_id}` },
    picture(product.image_urls, product.title),
    h("div", { class: "card-body" },
      h("p", { class: "name" }, marked(highlights.title, product.title)),
      product.subtitle && h("p", { class: "muted clamp" }, marked(highlights.subtitle, product.subtitle)),
      h("p", { class: "price" }, money(product.price_cents ?? product.min_price_cents ?? 0))));
}

function paintFacets(place, facets, categories, query, change) {
  const chosen = query.get("category_id");
  const rows = (facets?.categories ?? []).filter(({ category_id: id }) => categories.has(id));
  const choice = (id, name, count) => h("button", { class: "facet", "aria-pressed": String(chosen === id || (!chosen && id === null)),
    onclick: () => change({ category_id: id }) }, h("span", null, name), count !== undefined && h("span", { class: "muted" }, count));
  const [low, high] = ["min_price_cents", "max_price_cents"].map((name) => query.get(name));
  const yuan = (name, label, cents) => h("input", { class: "input", name, type: "number", min: 0, step: 1, inputmode: "numeric",
    placeholder: label, "aria-label": label, value: cents ? cents / 100 : "" });
  const cents = (text) => (text === "" ? null : String(Math.round(Number(text) * 100)));
  fill(place,
    h("div", { class: "facet-list" }, choice(null, t("allCategories")), rows.map(({ category_id: id, count }) => choice(id, local(categories.get(id)), count))),
    h("form", { class: "row price-form", onsubmit: (event) => {
      event.preventDefault();
      const fields = new FormData(event.currentTarget);
      change({ min_price_cents: cents(fields.get("low")), max_price_cents: cents(fields.get("high")) });
    } }, yuan("low", t("priceFrom"), low), yuan("high", t("priceTo"), high), h("button", { class: "button" }, t("apply"))));
}
