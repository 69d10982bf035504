// The frame of the shop: header, tabs, and the page that the address names.

import { get, mine, sleep } from "./api.js";
import { sync } from "./clock.js";
import { announce, fill, h, icon, toast } from "./dom.js";
import { language, local, setLanguage, t } from "./i18n.js";
import { empty, failure } from "./parts.js";
import { session } from "./session.js";

const PAGES = [
  [/^\/$/, () => import("./pages/home.js")],
  [/^\/search$/, () => import("./pages/search.js")],
  [/^\/category\/(\d+)$/, () => import("./pages/category.js")],
  [/^\/product\/(\d+)$/, () => import("./pages/product.js")],
  [/^\/sale\/(\d+)$/, () => import("./pages/sale.js")],
  [/^\/cart$/, () => import("./pages/cart.js"), "signed-in"],
  [/^\/checkout$/, () => import("./pages/checkout.js"), "signed-in"],
  [/^\/pay\/(\d+)$/, () => import("./pages/pay.js"), "signed-in"],
  [/^\/pay\/return$/, () => import("./pages/returned.js"), "signed-in"],
  [/^\/orders$/, () => import("./pages/orders.js"), "signed-in"],
  [/^\/orders\/(\d+)$/, () => import("./pages/order.js"), "signed-in"],
  [/^\/account$/, () => import("./pages/account.js"), "signed-in"],
  [/^\/sign-in$/, () => import("./pages/sign-in.js")],
];
const SUGGEST_AFTER_MS = 150;
const RETURN_MAX_MS = 10_000;
/** What shows that the shopper goes somewhere else meanwhile. */
const MOVES = ["wheel", "touchstart", "pointerdown", "keydown"];

const main = document.getElementById("main");
let leave = null;
let shown = 0;

/** Goes to an address of the shop. */
export function go(path, { replace = false } = {}) {
  keepPlace();
  returning = null;
  history[replace ? "replaceState" : "pushState"](null, "", path);
  return render(true);
}

/** Where on the page the shopper was, until the content that makes it long enough is there. */
let returning = history.state?.top ?? null;

/** Each entry of the history has its place on the page: the browser can't restore it, because the content comes later. */
function keepPlace() {
  history.replaceState({ top: returning ?? scrollY }, "");
}

/** Stays at that place while skeletons give way to content, unless the shopper goes somewhere else meanwhile. */
function returnToPlace(turn) {
  const began = performance.now();
  for (const move of MOVES) addEventListener(move, () => (returning = null), { once: true, passive: true, signal: leave.signal });
  const step = () => {
    if (turn !== shown || returning === null) return;
    scrollTo(0, returning);
    if (main.querySelector(".skeleton") && performance.now() - began < RETURN_MAX_MS) requestAnimationFrame(step);
    else returning = null;
  };
  step();
}

async function render(fresh) {
  const turn = ++shown;
  leave?.abort();
  leave = new AbortController();
  const { pathname, search } = location;
  const query = new URLSearchParams(search);
  const found = PAGES.map(([pattern, load, need]) => ({ match: pattern.exec(pathname), load, need })).find(({ match }) => match);
  if (fresh) scrollTo(0, 0);
  else returning ??= scrollY;
  tabs();
  if (!found) {
    document.title = `${t("notFoundTitle")} · ${t("mall")}`;
    fill(main, h("h1", { class: "center" }, t("notFoundTitle")), empty(t("notFoundText"), h("a", { class: "button primary", href: "/" }, t("toHome"))));
    return;
  }
  try {
    const page = await found.load();
    if (found.need === "signed-in" && !(await session.token())) {
      if (turn === shown) await go(`/sign-in?next=${encodeURIComponent(pathname + search)}`, { replace: true });
      return;
    }
    if (turn !== shown) return;
    const place = h("div", { class: "page" });
    fill(main, place);
    const showing = page.show(place, { id: found.match[1], query, signal: leave.signal, go });
    if (!fresh) returnToPlace(turn);
    const title = await showing;
    if (turn !== shown) return;
    document.title = `${title} · ${t("mall")}`;
    if (fresh) {
      announce(title);
      main.focus({ preventScroll: true });
    }
  } catch (error) {
    if (turn !== shown || error?.name === "AbortError") return;
    if (error?.status === 401) return go(`/sign-in?next=${encodeURIComponent(pathname + search)}`, { replace: true });
    document.title = error?.status === 404 ? `${t("goneTitle")} · ${t("mall")}` : t("mall");
    fill(main, failure(error, () => render(false)));
  }
}

function searchBox() {
  const list = h("ul", { id: "suggestions", role: "listbox", "aria-label": t("suggestions"), hidden: true });
  const current = location.pathname === "/search" ? new URLSearchParams(location.search).get("q") : "";
  const input = h("input", { type: "search", name: "q", class: "input", placeholder: t("searchHint"), "aria-label": t("search"),
    autocomplete: "off", maxlength: 100, role: "combobox", "aria-expanded": "false", "aria-controls": "suggestions",
    "aria-autocomplete": "list", value: current ?? "" });
  let asked = 0;
  let at = -1;
  const open = (shown) => {
    list.hidden = !shown;
    input.setAttribute("aria-expanded", String(shown));
    if (!shown) mark(-1);
  };
  const mark = (next) => {
    at = next;
    [...list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === at)));
    if (at >= 0) input.setAttribute("aria-activedescendant", `suggestion-${at}`);
    else input.removeAttribute("aria-activedescendant");
  };
  const find = (text) => {
    open(false);
    asked++;
    input.value = text;
    if (text.trim()) go(`/search?q=${encodeURIComponent(text.trim())}`);
  };
  input.addEventListener("input", async () => {
    const turn = ++asked;
    const text = input.value.trim();
    if (!text) return open(false);
    await sleep(SUGGEST_AFTER_MS);
    if (turn !== asked) return;
    const found = await get(`/api/v1/search/suggest?q=${encodeURIComponent(text)}`, { tries: 1 }).catch(() => null);
    if (turn !== asked) return;
    const items = (found?.items ?? []).map((item) => (typeof item === "string" ? item : item.text)).filter(Boolean);
    fill(list, items.map((item, index) => h("li", { role: "option", id: `suggestion-${index}`, "aria-selected": "false",
      onpointerdown: (event) => { event.preventDefault(); find(local(item)); } }, local(item))));
    open(items.length > 0);
  });
  input.addEventListener("keydown", (event) => {
    const count = list.hidden ? 0 : list.children.length;
    if (event.key === "Escape") open(false);
    if (count && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      mark((at + (event.key === "ArrowDown" ? 1 : count - 1) + (at < 0 && event.key === "ArrowUp" ? 1 : 0)) % count);
    }
    if (count && event.key === "Enter" && at >= 0) {
      event.preventDefault();
      find(list.children[at].textContent);
    }
  });
  input.addEventListener("blur", () => open(false));
  return h("form", { class: "search", role: "search", onsubmit: (event) => { event.preventDefault(); find(input.value); } },
    icon("search"), input, list);
}

function frame() {
  document.getElementById("skip").textContent = t("skip");
  const other = language === "zh" ? "en" : "zh";
  fill(document.getElementById("header"), h("div", { class: "bar-inner" },
    h("a", { class: "logo", href: "/" }, h("img", { src: document.querySelector('link[rel="icon"]').href, alt: "", width: 30, height: 30 }),
      h("span", null, t("mall"))),
    searchBox(),
    h("div", { class: "bar-actions" },
      h("button", { class: "icon-button text", lang: other, onclick: () => { setLanguage(other); frame(); render(false); } },
        t("otherLanguage")),
      h("button", { class: "icon-button", "aria-label": t("theme"), onclick: switchTheme }, icon("moon")),
      h("a", { class: "icon-button wide-only", href: "/orders", "aria-label": t("orders") }, icon("orders")),
      h("a", { class: "icon-button wide-only", href: "/account", "aria-label": t("account") }, icon("user")),
      h("a", { class: "icon-button wide-only", href: "/cart" }, icon("cart"), h("span", { class: "visually-hidden" }, t("cart")), " ", h("span", { class: "count" })))));
  fill(document.getElementById("footer"), h("p", null, t("footer")));
  tabs();
  count();
}

function tabs() {
  const nav = document.getElementById("tabs");
  nav.setAttribute("aria-label", t("mall"));
  const tab = (path, name, label) => h("a", { href: path, "aria-current": location.pathname === path ? "page" : null },
    icon(name), name === "cart" && h("span", { class: "count" }), h("span", null, label));
  fill(nav, tab("/", "home", t("home")), tab("/cart", "cart", t("cart")), tab("/orders", "orders", t("orders")),
    tab("/account", "user", t("account")));
  paintCount();
}

let units = 0;

function paintCount() {
  for (const badge of document.querySelectorAll(".count")) {
    badge.textContent = units > 0 ? (units > 99 ? "99+" : units) : "";
    badge.hidden = units === 0;
  }
}

async function count() {
  if (!session.likely) units = 0;
  else {
    const cart = await mine("/api/v1/cart", { tries: 1 }).catch(() => null);
    if (cart) units = cart.items.reduce((sum, line) => sum + line.quantity, 0);
  }
  paintCount();
}

const THEME = "mall.theme";

function theme() {
  const chosen = localStorage.getItem(THEME);
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

function switchTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.setItem(THEME, dark ? "light" : "dark");
  theme();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.origin !== location.origin || link.target || link.hash || link.hasAttribute("download")) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
history.scrollRestoration = "manual";
addEventListener("pagehide", keepPlace);
addEventListener("popstate", () => {
  returning = history.state?.top ?? 0;
  render(false);
});
addEventListener("offline", () => toast(t("offline"), "error"));
addEventListener("online", () => toast(t("online")));
addEventListener("storage", ({ key }) => key === THEME && theme());
session.onChange((what) => {
  count();
  if (what !== "cart" && !session.likely && PAGES.some(([pattern, , need]) => need && pattern.test(location.pathname))) render(false);
});

theme();
sync();
frame();
render(false);
