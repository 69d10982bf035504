// The server's clock. The device's clock may be wrong by hours, so it is never shown; it only tells that the device slept.

import { gateway, timed } from "./api.js";

const SAMPLES = 3;
const RESYNC_MS = 60_000;
const SLEPT_MS = 1500;

let base = null;
let rtt = Infinity;
let difference = wall() - performance.now();
let running = null;

function wall() {
  return Date.now();
}

/** The server's time in epoch milliseconds; null until it is known. */
export function now() {
  return base === null ? null : base + performance.now();
}

export function synced() {
  return base !== null;
}

/** Asks the server for its time: the offset is taken at half of the shortest round trip. */
export function sync() {
  running ??= measure().finally(() => (running = null));
  return running;
}

async function measure() {
  let best = null;
  for (let i = 0; i < SAMPLES; i++) {
    const sent = performance.now();
    try {
      const answer = await timed(`${gateway}/api/v1/time`, { cache: "no-store" });
      const came = performance.now();
      const server = Date.parse((await answer.json()).now);
      if (answer.ok && Number.isFinite(server) && (best === null || came - sent < best.rtt)) {
        best = { rtt: came - sent, base: server - (sent + came) / 2 };
      }
    } catch {
      break;
    }
  }
  if (best) [base, rtt] = [best.base, best.rtt];
  difference = wall() - performance.now();
  return base !== null;
}

/** Half of the last round trip: how far off the clock may be. */
export function uncertainty() {
  return rtt / 2;
}

setInterval(sync, RESYNC_MS);
// Where the two clocks of the device part, it slept or was set: ask again.
setInterval(() => {
  if (Math.abs(wall() - performance.now() - difference) > SLEPT_MS) sync();
}, 1000);
addEventListener("online", sync);
document.addEventListener("visibilitychange", () => document.hidden || sync());

const ticking = new Set();

/** Calls `tick(now)` four times a second while `element` is in the page. */
export function every(element, tick) {
  ticking.add({ element, tick, seen: false });
  const at = now();
  if (at !== null) tick(at);
}

setInterval(() => {
  const at = now();
  for (const entry of ticking) {
    if (entry.element.isConnected) {
      entry.seen = true;
      if (at !== null) entry.tick(at);
    } else if (entry.seen) {
      ticking.delete(entry);
    }
  }
}, 250);
