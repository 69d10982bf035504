// Runs the tests, one after the other, and counts.

import { chromium } from "playwright-core";
import { admin } from "./admin.mjs";
import { files } from "./files.mjs";
import { Mall } from "./mall.mjs";
import { office } from "./office.mjs";
import { sales } from "./sales.mjs";
import { screens } from "./screens.mjs";
import { Shopper } from "./shopper.mjs";
import { states } from "./states.mjs";
import { walks } from "./walks.mjs";

/** A page in every look takes minutes on a core that others use too. */
const TEST_MAX_MS = 600_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const wanted = process.argv[2] ?? "";
const tests = [...screens, ...walks, ...sales, ...states, ...admin, ...files, ...office].filter(([name]) => name.includes(wanted));
const mall = await Mall.start();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
let [passed, failed] = [0, 0];
// What a handler of the browser's requests throws reaches no test. It fails the one that runs and ends no other.
const strays = [];
process.on("uncaughtException", (error) => strays.push(error));
try {
  for (const [name, test] of tests) {
    const opened = [];
    strays.length = 0;
    const open = async (options) => {
      const shopper = await Shopper.open(browser, mall, options);
      opened.push(shopper);
      return shopper;
    };
    let timer;
    const limit = new Promise((_, fail) => (timer = setTimeout(() => fail(new Error("it takes too long")), TEST_MAX_MS)));
    try {
      await Promise.race([test({ mall, open, browser }), limit]);
      if (strays.length > 0) throw strays[0];
      const faults = opened.flatMap((shopper) => shopper.faults);
      if (faults.length > 0) throw new Error(`the page reports: ${faults.join("; ")}`);
      passed++;
      console.log(`ok     ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}: ${error.stack}`);
    } finally {
      clearTimeout(timer);
      for (const shopper of opened) await shopper.context.close();
    }
  }
} finally {
  await browser.close();
  await mall.stop();
}
console.log(`browser: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
