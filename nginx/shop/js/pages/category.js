// The products of a category and of those below it.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { local, t } from "../i18n.js";
import { empty, moreButton, productCard, show as load, skeletonCards } from "../parts.js";

const PAGE = 24;
const SORTS = ["newest", "price_asc", "price_desc"];

export async function show(place, { id, query, signal, go }) {
  const sort = SORTS.includes(query.get("sort")) ? query.get("sort") : "newest";
  const { items: tree } = await get("/api/v1/categories", { signal });
  const path = find(tree, id) ?? [];
  const category = path.at(-1);
  if (!category) {
    fill(place, empty(t("p_not_found"), h("a", { class: "button primary", href: "/" }, t("toHome"))));
    return t("notFoundTitle");
  }
  const siblings = category.children.length > 0 ? category.children : path.at(-2)?.children ?? tree;
  const chosen = h("select", { class: "input", "aria-label": t("sort"),
    onchange: (event) => go(`/category/${id}?sort=${event.currentTarget.value}`, { replace: true }) },
    SORTS.map((name) => h("option", { value: name, selected: name === sort }, t(`sort_${name}`))));
  const list = h("div");
  fill(place,
    h("div", { class: "row between wrap" }, h("h1", null, local(category.name)), chosen),
    h("nav", { class: "chips rail", "aria-label": t("categories") }, siblings.map((one) => h("a", { class: "chip", href: `/category/${one.category_id}`,
      "aria-current": one.category_id === id ? "page" : null }, local(one.name)))),
    list);
  await load(list, skeletonCards(8), async () => {
    const at = `/api/v1/products?category_id=${id}&sort=${sort}&limit=${PAGE}`;
    const page = await get(at, { signal });
    if (page.items.length === 0) return empty(t("noProducts"));
    const grid = h("div", { class: "grid" }, page.items.map((product, index) => productCard(product, index < 4)));
    return [grid, moreButton(grid, page.next_cursor, (cursor) => get(`${at}&cursor=${cursor}`), productCard)];
  });
  return local(category.name);
}

function find(tree, id, above = []) {
  for (const category of tree) {
    const path = [...above, category];
    if (category.category_id === id) return path;
    const below = find(category.children, id, path);
    if (below) return below;
  }
  return null;
}
