// The way back from the payment platform. It proves nothing: money is what the platform tells the mall, a moment later.

import { mine, sleep } from "../api.js";
import { fill, h } from "../dom.js";
import { t } from "../i18n.js";
import { outcome, PAYING } from "./pay.js";

const WAIT_MS = 30_000;
const EVERY_MS = 700;

export async function show(place, { signal, go }) {
  const id = localStorage.getItem(PAYING);
  if (!id || !/^\d+$/.test(id)) {
    await go("/orders", { replace: true });
    return t("orders");
  }
  fill(place, h("div", { class: "outcome", role: "status" }, h("span", { class: "outcome-sign spins" }), h("h1", null, t("payChecking")),
    h("p", { class: "muted" }, t("payCheckingText"))));
  follow(place, id, signal);
  return t("payChecking");
}

async function follow(place, id, signal) {
  const began = performance.now();
  // The platform's notice may be late or lost, so the mall asks it now.
  await mine(`/api/v1/orders/${id}/payments/check`, { method: "POST", signal }).catch(() => null);
  while (!signal.aborted && performance.now() - began < WAIT_MS) {
    const order = await mine(`/api/v1/orders/${id}`, { signal }).catch(() => null);
    if (signal.aborted) return;
    if (order && order.status !== "pending_payment") {
      localStorage.removeItem(PAYING);
      return fill(place, outcome(order));
    }
    await sleep(EVERY_MS);
  }
  if (signal.aborted) return;
  fill(place, h("div", { class: "outcome quiet" }, h("h1", null, t("payLater")), h("p", { class: "muted" }, t("payLaterText")),
    h("div", { class: "row center wrap" }, h("a", { class: "button primary", href: `/pay/${id}` }, t("payNow")),
      h("a", { class: "button", href: `/orders/${id}` }, t("viewOrder")))));
}
