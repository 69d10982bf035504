// Pictures of pages for people to look at, and what a program can say about how they look.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";

export const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1366, height: 768 } };
const SETTLE_MS = 400;

/** Each size in each colour scheme, and each language in both sizes and both schemes. */
export const LOOKS = [["phone", "light", "zh-CN"], ["phone", "dark", "en-GB"], ["desk", "light", "en-GB"], ["desk", "dark", "zh-CN"]];

export class Camera {
  /** A shopper with a browser of this size, scheme and language, and a camera on the page. */
  static async open(open, [size, scheme, locale]) {
    const camera = new Camera();
    camera.shopper = await open({ viewport: SIZES[size], colorScheme: scheme, locale });
    camera.suffix = `${size}-${scheme}`;
    camera.faults = [];
    mkdirSync(process.env.SCREENS, { recursive: true });
    return camera;
  }

  /** Opens `path`, if there is one, and takes a picture of the page. Serious faults are kept. */
  async shot(name, path) {
    const { page } = this.shopper;
    if (path) await this.shopper.go(path);
    await page.waitForTimeout(SETTLE_MS);
    await page.screenshot({ path: join(process.env.SCREENS, `${name}-${this.suffix}.png`) });
    const { violations } = await new AxeBuilder({ page }).analyze();
    for (const { id, impact, nodes } of violations) {
      if (["serious", "critical"].includes(impact)) this.faults.push(`${name}: ${id}: ${nodes[0].html}`);
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) this.faults.push(`${name}: ${wide} px too wide`);
  }
}
