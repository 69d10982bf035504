// One shopper in one sale: a click becomes exactly one order, over reloads, tabs and lost answers.
//
// What is known is one entry of localStorage: `{key, sent, order_id, status}`. A click writes the Idempotency-Key before
// anything is sent; the key lives until the answer is final. So a repeat, from whatever tab, is the same request.

import { gateway, mine, pause, problemOf, Problem, sale, sleep, timed } from "./api.js";
import { newKey } from "./parts.js";
import { alone, session } from "./session.js";

const GIVE_UP_MS = 60_000;
const POLL_MIN_MS = 500;
const POLL_MAX_MS = 5000;
const STREAM_SILENT_MS = 40_000;
const CHALLENGES_MAX = 5;
const SECOND_MS = 1000;
const DEADLINE_TRIES = 10;
/** States of an order after which nothing more comes. */
const FINAL = new Set(["paid", "closed", "failed"]);
/** Refusals that end the attempt. */
const REFUSED = new Set(["sold_out", "limit_reached", "ended", "not_eligible", "unknown_activity"]);
/** Refusals that pass by themselves. */
const PASSING = new Set(["not_started", "paused"]);

export class Attempt {
  /** `changed(state)` is called whenever what the shopper should see has changed. */
  constructor(activity, { signal, changed, challenge }) {
    Object.assign(this, { activity, signal, changed, challenge, busyUntil: null, running: false, clicking: false, refusal: null, refusedAt: 0 });
    addEventListener("storage", (event) => event.key === this.place && this.seen(), { signal });
    addEventListener("online", () => this.resume(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.resume(), { signal });
  }

  get place() {
    return `mall.sale.${session.user}.${this.activity}`;
  }

  get entry() {
    try {
      return (session.user && JSON.parse(localStorage.getItem(this.place))) || null;
    } catch {
      return null;
    }
  }

  set entry(entry) {
    if (entry) localStorage.setItem(this.place, JSON.stringify(entry));
    else localStorage.removeItem(this.place);
    this.changed();
  }

  /** `idle`, `asking`, `busy`, `again`, `queued`, `won`, `paid`, `closed`, `failed`, or a refusal. */
  get state() {
    const entry = this.entry;
    if (entry?.status === "created") return "won";
    if (entry?.status) return entry.status;
    if (entry?.order_id) return "queued";
    if (this.busyUntil !== null) return "busy";
    if (this.clicking || this.running) return "asking";
    if (entry?.key) return "again";
    return this.refusal ?? "idle";
  }

  /** Another tab has written. */
  seen() {
    this.refusal = null;
    this.changed();
    this.resume();
  }

  /** Goes on with what was begun, by this tab or another one. */
  async resume() {
    if (!(await session.token().catch(() => null))) return;
    const entry = this.entry;
    if (entry?.order_id && !FINAL.has(entry.status)) this.follow();
    else if (!entry) await this.recall();
    else if (entry.key && !entry.order_id && !this.running) this.send();
    this.changed();
  }

  /** An order of this sale that was made on another device. */
  async recall() {
    const orders = await mine("/api/v1/orders?limit=50", { signal: this.signal }).catch(() => null);
    const found = orders?.items.find((order) => order.activity_id === this.activity && order.status !== "closed");
    if (!found || this.entry) return;
    const status = found.status === "pending_payment" ? "created" : "paid";
    this.entry = { order_id: found.order_id, status, expires_at: found.expires_at };
    if (status === "created") this.follow();
  }

  /** The shopper clicked. */
  async click() {
    this.refusal = null;
    this.clicking = true;
    try {
      if (!(await this.token())) throw new Problem(401, "signed_out");
      await alone(`mall-click-${this.place}`, async () => {
        const entry = this.entry;
        if (!entry || FINAL.has(entry.status)) this.entry = { key: newKey() };
      });
      if (!this.entry?.order_id) return await this.send();
    } finally {
      this.clicking = false;
    }
    this.follow();
  }

  /** The token, which a page that was just loaded may not have yet when the network goes. */
  async token() {
    const began = performance.now();
    for (let tries = 0; ; tries++) {
      try {
        return await session.token();
      } catch (error) {
        if (!error.passing || performance.now() - began > GIVE_UP_MS || this.signal.aborted) throw error;
        this.offline = error.code === "offline";
        await this.wait(pause(Math.min(tries, 4), error.retryAfterMs));
      }
    }
  }

  /** Sends the request until there is an answer, for a minute. */
  async send() {
    if (this.running) return;
    this.running = true;
    this.changed();
    try {
      await alone(`mall-send-${this.place}`, () => this.repeat());
    } finally {
      this.running = false;
      this.busyUntil = null;
      this.changed();
    }
  }

  async repeat() {
    const began = performance.now();
    for (let tries = 0; performance.now() - began < GIVE_UP_MS && !this.signal.aborted; tries++) {
      const entry = this.entry;
      if (!entry?.key || entry.order_id) return;
      let problem;
      try {
        const ticket = await this.ticket();
        const body = { activity_id: this.activity, quantity: 1, ...(ticket && { ticket }) };
        const held = await sale("/api/v1/seckill/orders", { method: "POST", body, key: entry.key, auth: true, tries: 1 });
        this.entry = { key: entry.key, order_id: held.order_id, status: null };
        this.follow();
        return;
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        problem = error;
      }
      if (problem.code === "ticket_required" || problem.code === "ticket_invalid") this.needsTicket = true;
      else if (!problem.passing && !PASSING.has(problem.code)) return this.refused(problem);
      this.offline = problem.code === "offline";
      await this.wait(pause(Math.min(tries, 4), problem.retryAfterMs));
    }
  }

  /** Waits, showing for how long. */
  async wait(ms) {
    this.busyUntil = performance.now() + ms;
    this.changed();
    await sleep(ms);
    this.busyUntil = null;
  }

  refused(problem) {
    this.entry = null;
    if (problem.code === "challenge_cancelled") return;
    if (!REFUSED.has(problem.code)) throw problem;
    [this.refusal, this.refusedAt] = [problem.code, performance.now()];
    this.changed();
    if (problem.code === "limit_reached") this.recall();
  }

  /** An entry ticket, where the sale asks for one. */
  async ticket() {
    if (!this.needsTicket) return null;
    const path = `/api/v1/seckill/activities/${this.activity}`;
    const issue = (body) => sale(`${path}/tickets`, { method: "POST", body, auth: true, tries: 1 });
    try {
      return (await issue({})).ticket;
    } catch (error) {
      if (error.code !== "challenge_required") throw error;
    }
    let wrong = false;
    for (let tries = 0; tries < CHALLENGES_MAX; tries++) {
      const painted = await this.picture(path, wrong);
      const challenge = painted.headers.get("challenge");
      const answer = await this.challenge(await painted.blob(), wrong);
      if (answer === null) throw new Problem(403, "challenge_cancelled");
      if (answer === "") continue;
      try {
        return (await issue({ challenge, answer })).ticket;
      } catch (error) {
        if (error.code !== "challenge_failed") throw error;
        wrong = true;
      }
    }
    throw new Problem(429, "rate_limited", {}, SECOND_MS);
  }

  /** A picture to read. After a wrong answer the gateway has its user wait for the next one. */
  async picture(path, wrong) {
    const paint = async () => {
      const headers = { Authorization: `Bearer ${await session.token()}` };
      return timed(`${gateway}${path}/challenge`, { headers, cache: "no-store" });
    };
    let painted = await paint();
    if (painted.status === 429 && wrong) {
      await this.wait((await problemOf(painted)).retryAfterMs || SECOND_MS);
      painted = await paint();
    }
    if (!painted.ok) throw await problemOf(painted);
    return painted;
  }

  /** Follows the order until its state is final. One tab holds the stream; the others read what it writes. */
  async follow() {
    if (this.following) return;
    this.following = true;
    const order = this.entry?.order_id;
    try {
      await alone(`mall-follow-${order}`, async () => {
        for (let tries = 0; !this.signal.aborted; tries++) {
          const entry = this.entry;
          if (entry?.order_id !== order || FINAL.has(entry.status)) return;
          const heard = await this.stream(order).catch(() => false);
          if (heard) tries = 0;
          await this.poll(order).catch(() => {});
          await sleep(Math.min(POLL_MAX_MS, POLL_MIN_MS * 2 ** Math.min(tries, 4)) * (0.75 + Math.random() / 2));
        }
      });
    } finally {
      this.following = false;
    }
  }

  async poll(order) {
    const found = await sale(`/api/v1/seckill/orders/${order}`, { auth: true, tries: 1, signal: this.signal });
    await this.became(order, found.status);
    await this.learnDeadline(order);
  }

  /** Until when the order can be paid. order-core may know it a moment later than the gateway knows the order. */
  async learnDeadline(order) {
    for (let tries = 0; tries < DEADLINE_TRIES && !this.signal.aborted; tries++) {
      if (this.entry?.order_id !== order || this.entry.status !== "created" || this.entry.expires_at) return;
      const written = await mine(`/api/v1/orders/${order}`, { signal: this.signal, tries: 1 }).catch(() => null);
      if (written && this.entry?.order_id === order) this.entry = { ...this.entry, expires_at: written.expires_at };
      else await sleep(POLL_MIN_MS);
    }
  }

  /** Reads server-sent events with `fetch`, because EventSource can't send the token. Whether anything came. */
  async stream(order) {
    const headers = { Authorization: `Bearer ${await session.token()}`, Accept: "text/event-stream" };
    const silent = new AbortController();
    const abort = () => silent.abort();
    this.signal.addEventListener("abort", abort);
    addEventListener("offline", abort);
    let timer = setTimeout(abort, STREAM_SILENT_MS);
    try {
      const answer = await fetch(`${gateway}/api/v1/seckill/orders/${order}/events`, { headers, signal: silent.signal });
      if (!answer.ok) return false;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let heard = false; ; heard = true) {
        const { value, done } = await reader.read();
        if (done) return heard;
        clearTimeout(timer);
        timer = setTimeout(abort, STREAM_SILENT_MS);
        text += value;
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const data = text.slice(0, end).split("\n").find((line) => line.startsWith("data:"));
          text = text.slice(end + 2);
          if (data) await this.became(order, JSON.parse(data.slice(5)).status);
        }
      }
    } finally {
      clearTimeout(timer);
      silent.abort();
      this.signal.removeEventListener("abort", abort);
      removeEventListener("offline", abort);
    }
  }

  async became(order, status) {
    const entry = this.entry;
    if (entry?.order_id !== order || status === "queued" || entry.status === status) return;
    this.entry = { ...entry, status };
    await this.learnDeadline(order);
  }
}
