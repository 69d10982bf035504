// Requests: deadlines, retries, problems.

import { session } from "./session.js";

/** Where the gateway is; empty where it shares the shop's origin. */
export const gateway = document.querySelector('meta[name="mall-gateway"]').content;

const DEADLINE_MS = 10_000;
const TRIES = 4;
const BACK_OFF_MS = 300;
const BACK_OFF_MAX_MS = 5000;

/** A refusal of the server, or its silence (`code` is "offline" or "timeout"). */
export class Problem extends Error {
  constructor(status, code, body = {}, retryAfterMs = 0) {
    super(code);
    Object.assign(this, { status, code, body, retryAfterMs });
  }

  /** Whether the same request may succeed a moment later. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 502;
  }
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** How long to wait before try number `tries` + 1: what the server asked for, and jitter on top. */
export function pause(tries, retryAfterMs = 0) {
  const exponential = Math.min(BACK_OFF_MAX_MS, BACK_OFF_MS * 2 ** tries);
  return retryAfterMs + exponential * (0.5 + Math.random() / 2);
}

/** `fetch` with a deadline. */
export async function timed(url, options = {}, deadlineMs = DEADLINE_MS) {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), deadlineMs);
  const abort = () => deadline.abort();
  options.signal?.addEventListener("abort", abort);
  try {
    const answer = await fetch(url, { ...options, signal: deadline.signal });
    const body = await answer.arrayBuffer();
    const empty = [204, 205, 304].includes(answer.status);
    return new Response(empty ? null : body, { status: answer.status, headers: answer.headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, deadline.signal.aborted ? "timeout" : "offline");
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", abort);
  }
}

/** The problem in an answer. */
export async function problemOf(answer) {
  const body = await answer.json().catch(() => ({}));
  const after = answer.headers.get("retry-after");
  const seconds = Number(after);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : 0;
  return new Problem(answer.status, typeof body.code === "string" ? body.code : "unknown", body, retryAfterMs);
}

/**
 * One request. `auth` sends the token (and renews it once); `key` is the Idempotency-Key, under which a request
 * is repeated as safely as a GET.
 */
export async function request(path, { method = "GET", body, auth = false, key, signal, tries, base = "" } = {}) {
  const most = tries ?? (method === "GET" || key ? TRIES : 1);
  for (let tried = 1; ; tried++) {
    try {
      return await once(base + path, { method, body, auth, key, signal });
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing || tried >= most || signal?.aborted) throw error;
      await sleep(pause(tried, error.retryAfterMs));
    }
  }
}

async function once(url, { method, body, auth, key, signal }) {
  for (let renewed = false; ; renewed = true) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key) headers["Idempotency-Key"] = key;
    const token = auth ? await session.token(renewed) : null;
    if (auth && !token) throw new Problem(401, "signed_out");
    if (token) headers.Authorization = `Bearer ${token}`;
    const answer = await timed(url, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
    if (answer.status === 401 && auth && !renewed) continue;
    if (!answer.ok) throw await problemOf(answer);
    return answer.status === 204 ? null : answer.json();
  }
}

export const get = (path, options) => request(path, options);
export const mine = (path, options) => request(path, { auth: true, ...options });
export const sale = (path, options) => request(path, { base: gateway, ...options });

const skus = new Map();
const SKUS_MAX = 200;

/** Has products read again. */
export const forgetProducts = () => skus.clear();

/** The product that a SKU belongs to, with all of its SKUs; null where the shop does not show it any more. */
export function productOfSku(sku) {
  if (!skus.has(sku)) {
    if (skus.size >= SKUS_MAX) skus.clear();
    const asked = get(`/api/v1/skus/${encodeURIComponent(sku)}`).catch((error) => {
      skus.delete(sku);
      if (error.status === 404) return null;
      throw error;
    });
    skus.set(sku, asked);
  }
  return skus.get(sku);
}
