// The sale: what it offers, when, and how the shopper fares in it.

import { pause, Problem, productOfSku, sale as ask_gateway, sleep } from "../api.js";
import { every, now, sync, synced } from "../clock.js";
import { announce, fill, h, icon } from "../dom.js";
import { date, duration, local, money, t } from "../i18n.js";
import { ask, complain, largePicture, picture } from "../parts.js";
import { Attempt } from "../sale.js";
import { session } from "../session.js";

const NEAR_MS = 15_000;
const POLL_NEAR_MS = 1000;
const POLL_FAR_MS = 5000;
/** Gateways learn of each other's sales within this; what they report sooner after a refusal may be older than it. */
const GATEWAYS_LAG_MS = 1500;
/** States in which the shopper has something to win by clicking. */
const CLICKABLE = new Set(["ready", "again", "closed", "failed"]);
/** What the button says in states that pass by themselves. */
const WAITS = { scheduled: "waiting", paused: "waitingResume", sold_out: "waitingUnit", asking: "pleaseWait", queued: "pleaseWait", busy: "retrying" };

export async function show(place, { id, signal, go }) {
  const path = `/api/v1/seckill/activities/${id}`;
  fill(place, skeleton());
  let activity = await read(path, { signal });
  sync();
  const title = local(activity.title);

  const gallery = h("div", { class: "gallery sale-gallery" }, picture([], activity.title));
  const link = h("p", { class: "muted" });
  const panel = h("section", { class: "sale-panel", "aria-live": "off" });
  const clock = h("div", { class: "sale-clock" });
  const state = h("div", { class: "sale-state" });
  const band = h("span", { class: "band" });
  const saved = Math.floor(100 - (100 * activity.price_cents) / activity.original_price_cents);
  fill(panel,
    h("div", { class: "row between wrap" }, h("p", { class: "eyebrow" }, icon("bolt"), t("flashSale")),
      h("p", { class: "terms muted" }, band, h("span", null, t("limitEach", { n: activity.per_user_limit })))),
    h("h1", null, title),
    h("div", { class: "sale-price" },
      h("span", { class: "price huge" }, money(activity.price_cents)),
      h("s", { class: "muted" }, money(activity.original_price_cents)),
      saved > 0 && h("span", { class: "badge hot" }, t("off", { n: saved }))),
    clock, state);
  const rules = h("section", { class: "panel rules" }, h("h2", null, t("rules")),
    h("ul", null, ["rule1", "rule2", "rule3"].map((rule) => h("li", null, t(rule)))),
    h("p", { class: "muted" }, `${t("period")}: ${date(activity.starts_at)} – ${date(activity.ends_at)}`), link);
  fill(place, h("div", { class: "split" }, gallery, h("div", { class: "stack" }, panel, rules)));

  productOfSku(activity.sku_id).then((product) => {
    if (!product || signal.aborted) return;
    fill(gallery, largePicture(product.image_urls, product.title, { alt: product.image_alts[0] }));
    fill(link, h("a", { href: `/product/${product.product_id}` }, t("seeProduct")));
  }).catch(() => {});

  const attempt = new Attempt(id, { signal, changed: () => paint(), challenge: captcha });
  if (activity.requires_ticket) attempt.needsTicket = true;

  let painted = null;
  /** The state of the sale for this shopper, by the server's clock. */
  function current() {
    const own = attempt.state;
    if (own !== "idle" && own !== "sold_out" && own !== "closed" && own !== "failed") return own;
    const at = now();
    if (activity.state === "ended" || (at !== null && at >= Date.parse(activity.ends_at))) return own === "idle" || own === "sold_out" ? "ended" : own;
    if (activity.state === "paused") return "paused";
    const begun = at === null ? activity.state !== "scheduled" : at >= Date.parse(activity.starts_at);
    if (!begun) return "scheduled";
    if (activity.state === "sold_out") return own === "idle" ? "sold_out" : own;
    if (own === "sold_out") return activity.askedAt < attempt.refusedAt + GATEWAYS_LAG_MS ? "sold_out" : "ready";
    return own === "idle" ? "ready" : own;
  }

  function paint() {
    if (signal.aborted) return;
    const own = current();
    const order = attempt.entry?.order_id;
    const expires = attempt.entry?.expires_at;
    const signature = [own, order, expires, activity.state, session.likely, attempt.offline].join("|");
    // A refusal is newer than the band that was read before it.
    const left = own === "sold_out" ? "none" : activity.stock_left_band;
    band.className = `band band-${left}`;
    band.textContent = own === "ended" ? "" : t(`band_${left}`);
    if (signature === painted) return;
    painted = signature;
    paintClock(own);
    panel.dataset.state = own;
    const head = h("h2", { class: "state-title" }, t(`s_${stateWord(own)}`, { n: 1 }));
    const text = h("p", null, t(`s_${stateWord(own)}Text`, { time: "" }));
    fill(state, h("div", { class: `notice ${tone(own)}`, role: "status" }, icon(symbol(own)), h("div", null, head, text)), h("div", { class: "sale-action" }, action(own, order)));
    if (own === "won") winning(text, expires);
    if (own === "busy") every(head, () => {
      const left = Math.max(1, Math.ceil(((attempt.busyUntil ?? 0) - performance.now()) / 1000));
      head.textContent = t(attempt.offline ? "s_offline" : "s_busy", { n: left });
    });
    announce(head.textContent);
  }

  function winning(text, expires) {
    if (!expires) {
      text.textContent = t("s_wonSoon");
      return;
    }
    const digits = h("b", { class: "countdown" }, "--:--");
    const [before, after] = t("s_wonText", { time: "\u0000" }).split("\u0000");
    fill(text, before, digits, after);
    every(digits, (at) => (digits.textContent = duration(Date.parse(expires) - at)));
  }

  function paintClock(own) {
    const [label, until] = own === "scheduled" ? ["begins", activity.starts_at] : ["ends", activity.ends_at];
    if (["ended", "paid", "won"].includes(own)) return fill(clock);
    const cells = h("div", { class: "cells", role: "timer", "aria-live": "off", "aria-label": t(label) });
    if (!synced()) paintCells(cells, 0);
    every(cells, (at) => paintCells(cells, Math.max(0, Date.parse(until) - at)));
    fill(clock, h("span", { class: "muted" }, t(label)), cells);
  }

  function action(own, order) {
    if (own === "won") return h("a", { class: "button primary wide large", href: `/pay/${order}` }, t("payThis"));
    if (own === "paid") return h("a", { class: "button wide large", href: `/orders/${order}` }, t("viewOrder"));
    if (own === "limit_reached") return h("a", { class: "button wide large", href: "/orders" }, t("orders"));
    if (CLICKABLE.has(own)) {
      const label = !session.likely ? t("signInToBuy") : own === "ready" ? t("buySale") : t("tryAgain");
      return h("button", { class: "button primary wide large", onclick: click }, label);
    }
    const waits = WAITS[own];
    if (!waits) return h("a", { class: "button wide large", href: "/" }, t("otherSales"));
    const spins = ["asking", "queued", "busy"].includes(own);
    return h("button", { class: `button wide large ${spins ? "spins" : ""}`, disabled: true }, t(waits));
  }

  async function click(event) {
    event.currentTarget.disabled = true;
    if (!session.likely) return go(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
    try {
      await attempt.click();
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return go(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
      complain(error);
    } finally {
      painted = null;
      paint();
    }
  }

  async function watch() {
    for (let failed = 0; !signal.aborted; ) {
      const at = now() ?? 0;
      const near = Math.min(Math.abs(Date.parse(activity.starts_at) - at), Math.abs(Date.parse(activity.ends_at) - at)) < NEAR_MS;
      const open = activity.state === "open" || activity.state === "sold_out" || activity.state === "paused";
      await sleep(failed ? pause(failed) : near || open ? POLL_NEAR_MS + Math.random() * 300 : POLL_FAR_MS);
      if (document.hidden || signal.aborted) continue;
      try {
        activity = await read(path, { signal, tries: 1 });
        failed = 0;
      } catch {
        failed = Math.min(failed + 1, 4);
      }
      paint();
    }
  }

  every(panel, () => paint());
  paint();
  attempt.resume();
  watch();
  return title;
}

/** The activity, with the time at which it was asked for. */
async function read(path, options) {
  const askedAt = performance.now();
  return { ...(await ask_gateway(path, options)), askedAt };
}

const stateWord = (own) => (own === "limit_reached" ? "limit" : own === "unknown_activity" ? "ended" : own);

function tone(own) {
  if (["won", "paid"].includes(own)) return "good";
  if (["sold_out", "limit_reached", "ended", "closed", "failed", "again", "not_eligible", "unknown_activity"].includes(own)) return "quiet";
  return ["busy", "asking", "queued"].includes(own) ? "busy" : "plain";
}

function symbol(own) {
  if (["won", "paid"].includes(own)) return "check";
  return ["failed", "again", "closed", "limit_reached", "not_eligible"].includes(own) ? "alert" : own === "ready" ? "bolt" : "clock";
}

function paintCells(cells, ms) {
  const text = duration(ms);
  const parts = text.split(/(?<=[^\d:])\s|:/);
  if (cells.textContent === parts.join("")) return;
  if (synced()) cells.title = text;
  fill(cells, parts.map((part) => h("span", { class: /^\d+$/.test(part) ? "cell" : "cell words" }, part)));
}

function captcha(blob, wrong) {
  const url = URL.createObjectURL(blob);
  return ask(t("captchaTitle"), (done) => {
    const input = h("input", { class: "input captcha", name: "answer", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
      maxlength: 16, required: true, "aria-label": t("captchaAnswer"), autofocus: true });
    return h("form", { class: "form", onsubmit: (event) => { event.preventDefault(); done(input.value.trim()); } },
      wrong && h("p", { class: "form-error", role: "alert" }, t("captchaWrong")),
      h("img", { class: "captcha-image", src: url, alt: t("captchaTitle") }), input,
      h("div", { class: "row end" },
        h("button", { class: "button", type: "button", onclick: () => done("") }, t("captchaNew")),
        h("button", { class: "button primary" }, t("captchaSend"))));
  }).finally(() => URL.revokeObjectURL(url));
}

function skeleton() {
  return h("div", { class: "split skeleton", "aria-hidden": "true" }, h("div", { class: "gallery sale-gallery" }, h("div", { class: "picture" })),
    h("div", { class: "sale-panel" }, h("span", { class: "bar short" }), h("span", { class: "bar tall" }), h("span", { class: "bar tall short" }),
      h("span", { class: "bar" }), h("span", { class: "bar tall" }), h("span", { class: "bar tall" })));
}
