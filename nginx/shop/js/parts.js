// Pieces that several pages share.

import { Problem } from "./api.js";
import { every } from "./clock.js";
import { fill, h, icon, toast } from "./dom.js";
import { duration, known, local, money, t } from "./i18n.js";

/** Whether the page that asked was left meanwhile, which ends its requests. */
const left = (error) => error?.name === "AbortError";

/** What to do about a failure, as a sentence. */
export function sentence(error) {
  if (!(error instanceof Problem)) {
    if (!left(error)) console.error(error);
    return t("p_unknown");
  }
  if (known(`p_${error.code}`)) return t(`p_${error.code}`);
  if (error.status === 404) return t("p_not_found");
  return t(error.passing ? "p_unavailable" : error.status === 422 ? "p_invalid_body" : "p_unknown");
}

/** A button that appends the next page of a list. `load` gets the page after an encoded cursor. */
export function moreButton(list, cursor, load, card) {
  if (!cursor) return null;
  const button = h("button", { class: "button", onclick: async () => {
    button.disabled = true;
    try {
      const page = await load(encodeURIComponent(cursor));
      list.append(...page.items.map((item) => card(item)));
      cursor = page.next_cursor;
      if (!cursor) button.remove();
    } catch (error) {
      complain(error);
    }
    button.disabled = false;
  } }, t("more"));
  return h("p", { class: "center" }, button);
}

export const complain = (error) => left(error) || toast(sentence(error), "error");

/** A large picture, whole in whatever shape its place has: the rest of the place shows the edges of the same picture, stretched. */
export function largePicture(urls, title, { index = 0, alt = "" } = {}) {
  const place = picture(urls, title, { eager: true, index, alt });
  if (!urls?.[index]) return place;
  place.classList.add("whole");
  place.prepend(h("img", { class: "backdrop", src: urls[index], alt: "", "aria-hidden": "true" }));
  return place;
}

/** A picture of a product, or its first letter where it has none. `alt` says what it shows; without one it is decoration. */
export function picture(urls, title, { eager = false, index = 0, alt = "" } = {}) {
  const url = urls?.[index];
  if (!url) return h("div", { class: "picture blank", "aria-hidden": "true" }, local(title).slice(0, 1));
  const loading = eager ? { fetchpriority: "high" } : { loading: "lazy" };
  const image = h("img", { src: url, alt: local(alt), width: 640, height: 640, decoding: "async", ...loading });
  image.addEventListener("error", () => image.replaceWith(h("div", { class: "blank" }, local(title).slice(0, 1))));
  return h("div", { class: "picture" }, image);
}

export function productCard(product, eager = false) {
  const title = local(product.title);
  return h("a", { class: "card product", href: `/product/${product.product_id}` },
    picture(product.image_urls, product.title, { eager }),
    h("div", { class: "card-body" },
      h("p", { class: "name" }, title),
      product.subtitle && h("p", { class: "muted clamp" }, local(product.subtitle)),
      h("p", { class: "price" }, money(product.price_cents))));
}

export function skeletonCards(count) {
  const one = () => h("div", { class: "card skeleton" }, h("div", { class: "picture" }), h("div", { class: "card-body" },
    h("span", { class: "bar" }), h("span", { class: "bar short" })));
  return h("div", { class: "grid", "aria-hidden": "true" }, Array.from({ length: count }, one));
}

export function skeletonRows(count) {
  const row = () => h("div", { class: "panel skeleton" }, h("span", { class: "bar short" }), h("span", { class: "bar" }),
    h("span", { class: "bar" }));
  return h("div", { class: "stack", "aria-hidden": "true" }, Array.from({ length: count }, row));
}

export function empty(text, action, sign = "box") {
  return h("div", { class: "empty" }, icon(sign), h("p", null, text), action);
}

/** A failure with a button that tries again, or with a way out where trying again is no use. */
export function failure(error, again) {
  if (error.status === 404) {
    return h("div", { class: "empty", role: "alert" }, icon("search"), h("h1", null, t("goneTitle")), h("p", null, sentence(error)),
      h("a", { class: "button primary", href: "/" }, t("toHome")));
  }
  return h("div", { class: "empty", role: "alert" }, icon("alert"), h("h2", null, t("failedTitle")), h("p", null, sentence(error)),
    again && h("button", { class: "button", onclick: again }, t("retry")));
}

/** Shows `placeholder`, then what `load` makes, or the failure. */
export async function show(place, placeholder, load) {
  fill(place, placeholder);
  place.setAttribute("aria-busy", "true");
  try {
    const made = await load();
    fill(place, made);
  } catch (error) {
    if (error instanceof Problem && error.status === 401) throw error;
    fill(place, failure(error, () => show(place, placeholder, load)));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** A countdown to a time of the server; `ended` is called once. Its width does not change with its digits. */
export function countdown(until, ended) {
  const element = h("span", { class: "countdown", role: "timer", "aria-live": "off" }, "--:--");
  const end = Date.parse(until);
  let over = false;
  every(element, (now) => {
    element.textContent = duration(end - now);
    if (now >= end && !over) {
      over = true;
      ended?.();
    }
  });
  return element;
}

/** A number with a button on either side. */
export function stepper({ value, min = 1, max = 99, change, label = t("quantity") }) {
  const number = h("output", { class: "stepper-value" }, value);
  const set = (next) => {
    value = Math.min(max, Math.max(min, next));
    update();
    change(value);
  };
  const less = h("button", { type: "button", "aria-label": t("less"), onclick: () => set(value - 1) }, icon("minus"));
  const more = h("button", { type: "button", "aria-label": t("moreOne"), onclick: () => set(value + 1) }, icon("plus"));
  function update() {
    number.textContent = value;
    less.disabled = value <= min;
    more.disabled = value >= max;
  }
  update();
  const group = h("div", { class: "stepper", role: "group", "aria-label": label }, less, number, more);
  group.setMax = (next) => {
    max = Math.max(min, next);
    if (value > max) set(max);
    else update();
  };
  return group;
}

/** The last step of a page, what it costs and what prevents it: on a phone all of it stays at the lower edge. */
export function dock(cents, action, wrong) {
  return h("div", { class: "dock" }, wrong, h("p", { class: "dock-total" }, h("span", { class: "muted" }, t("total")), h("b", { class: "price" }, money(cents))), action);
}

let fields = 0;

/** A labelled input with a hint. */
export function field(name, label, attributes = {}, hint) {
  const id = `f-${name}-${++fields}`;
  const input = h("input", { id, name, class: "input", "aria-describedby": hint ? `${id}-hint` : null, ...attributes });
  return h("div", { class: "field" }, h("label", { for: id }, label), input, hint && h("p", { class: "hint", id: `${id}-hint` }, hint));
}

/** A form that sends once at a time and shows its failure above the button. */
export function form({ fields, action, submit, extra }) {
  const wrong = h("p", { class: "form-error", role: "alert" });
  const button = h("button", { class: "button primary wide", type: "submit" }, action);
  return h("form", {
    class: "form",
    onsubmit: async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      wrong.textContent = "";
      try {
        await submit(Object.fromEntries(new FormData(event.currentTarget)), event.currentTarget);
      } catch (error) {
        wrong.textContent = sentence(error);
      } finally {
        button.disabled = false;
      }
    },
  }, fields, wrong, button, extra);
}

/** Asks in a dialog; resolves with what `content` passes to its `done`, null where it is closed. */
export function ask(title, content) {
  return new Promise((answer) => {
    const opener = document.activeElement;
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
    const done = (value) => {
      dialog.returned = value;
      dialog.close();
    };
    const shut = h("button", { class: "icon-button", type: "button", "aria-label": t("close"), onclick: () => done(null) }, "×");
    dialog.append(h("div", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title), shut), content(done));
    dialog.addEventListener("close", () => {
      dialog.remove();
      opener?.focus?.();
      answer(dialog.returned ?? null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function confirmation(text, action) {
  return ask(text, (done) => h("div", { class: "row end" },
    h("button", { class: "button", onclick: () => done(false) }, t("cancel")),
    h("button", { class: "button primary", onclick: () => done(true) }, action)));
}

export const attributes = (map) => Object.values(map ?? {}).map(local).join(" · ");

export const addressLine = (address) => [address?.region, address?.detail].filter(Boolean).join(" ");

export function statusBadge(status) {
  return h("span", { class: `badge status-${status}` }, t(status));
}

/** A key for one intention of the shopper: the same one after a reload, until it is `settled`. */
export function intention(name) {
  const place = `mall.key.${name}`;
  let key = sessionStorage.getItem(place);
  if (!key) {
    key = newKey();
    sessionStorage.setItem(place, key);
  }
  return { key, settled: () => sessionStorage.removeItem(place) };
}

/** 128 random bits; crypto.randomUUID would need a secure context. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What an order's line is called in the current language. Its title is the product's and the SKU's of that time, as one text. */
export function lineTitle(line, product) {
  const sku = product?.skus.find((one) => one.sku_id === line.sku_id);
  if (!sku || !line.title.startsWith(product.title)) return local(line.title);
  return [local(product.title), attributes(sku.attributes)].filter(Boolean).join(" · ");
}
