// Who is signed in. The access token lives in memory; the refresh token is in a cookie that no script can read.

import { Problem, problemOf, timed } from "./api.js";

const HINT = "mall.signed-in";
const RENEW_BEFORE_MS = 60_000;
const OTHER_TABS_MS = 150;

const channel = "BroadcastChannel" in self ? new BroadcastChannel("mall") : null;
const listeners = new Set();
let held = null;
let asking = null;

/** Runs `work` in one tab at a time, where the browser can do that (it needs a secure context). */
export function alone(name, work) {
  return navigator.locks ? navigator.locks.request(name, work) : work();
}

function hold(token, expiresAt) {
  held = { token, expiresAt };
  localStorage.setItem(HINT, "1");
}

function drop() {
  held = null;
  localStorage.removeItem(HINT);
}

const fresh = () => held !== null && held.expiresAt - RENEW_BEFORE_MS > performance.timeOrigin + performance.now();

function changed() {
  for (const listener of listeners) listener();
}

channel?.addEventListener("message", ({ data }) => {
  if (data.kind === "who" && fresh()) channel.postMessage({ kind: "token", ...held });
  if (data.kind === "token") {
    const was = held;
    hold(data.token, data.expiresAt);
    if (!was) changed();
  }
  if (data.kind === "signed-out" && held) {
    drop();
    changed();
  }
  if (data.kind === "cart") for (const listener of listeners) listener("cart");
});

async function take(answer) {
  if (!answer.ok) throw await problemOf(answer);
  const { access_token: token, expires_in: seconds } = await answer.json();
  hold(token, performance.timeOrigin + performance.now() + seconds * 1000);
  channel?.postMessage({ kind: "token", ...held });
}

const post = (path, body) =>
  timed(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** A token of another tab, or a new one for the cookie. A refresh token is good once, so tabs take turns. */
async function renew(refused) {
  if (!localStorage.getItem(HINT)) return;
  const before = refused;
  if (channel && !refused) {
    channel.postMessage({ kind: "who" });
    for (let waited = 0; waited < OTHER_TABS_MS && !fresh(); waited += 10) await new Promise((done) => setTimeout(done, 10));
    if (fresh()) return;
  }
  await alone("mall-refresh", async () => {
    if (fresh() && held.token !== before) return;
    try {
      await take(await post("/api/v1/sessions/refresh", {}));
    } catch (error) {
      if (!(error instanceof Problem) || (error.status !== 401 && error.status !== 403)) throw error;
      drop();
      changed();
    }
  });
}

export const session = {
  /** The access token; null where nobody is signed in. `refused`: the last one was not accepted. */
  async token(refused = false) {
    if (fresh() && !refused) return held.token;
    asking ??= renew(refused ? held?.token : null).finally(() => (asking = null));
    await asking;
    return held?.token ?? null;
  },

  /** Whether somebody seems to be signed in. */
  get likely() {
    return held !== null || localStorage.getItem(HINT) !== null;
  },

  /** The user's id, which is not secret; null where the token is not here yet. */
  get user() {
    try {
      return held ? JSON.parse(atob(held.token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub : null;
    } catch {
      return null;
    }
  },

  async signIn(username, password) {
    await take(await post("/api/v1/sessions", { username, password, cookie: true }));
    changed();
  },

  async register(fields) {
    const answer = await post("/api/v1/users", fields);
    if (!answer.ok) throw await problemOf(answer);
    await this.signIn(fields.username, fields.password);
  },

  async signOut() {
    const token = await this.token().catch(() => null);
    if (token) {
      const headers = { Authorization: `Bearer ${token}` };
      await timed("/api/v1/sessions/current", { method: "DELETE", headers });
    }
    drop();
    channel?.postMessage({ kind: "signed-out" });
    changed();
  },

  /** Tells other tabs, and this one, that the cart has changed. */
  cartChanged() {
    channel?.postMessage({ kind: "cart" });
    for (const listener of listeners) listener("cart");
  },

  onChange(listener) {
    listeners.add(listener);
  },
};
