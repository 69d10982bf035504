// Draws the pictures of the example catalogue and renders them to WebP:
//   npm i playwright-core && CHROMIUM=$(command -v chromium) node draw.mjs
import { chromium } from "playwright-core";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const { products } = JSON.parse(readFileSync(join(here, "catalogue.json"), "utf8"));
const SIZE = 640;
// body, shade, light, ground
const COLOURS = {
  Obsidian: ["#2b2f38", "#15171c", "#4b515e", "#dfe3ea"], Snow: ["#f4f5f7", "#cfd4db", "#ffffff", "#d3deea"],
  Pine: ["#2f6b5a", "#1d4639", "#4e9581", "#dcebe4"], Sky: ["#5b9be0", "#376fb0", "#8dbdf0", "#dcE9f7"],
  Dusk: ["#7c6bc4", "#54469a", "#a598e0", "#e7e3f6"], Coral: ["#f07a55", "#c4532f", "#ffa283", "#fde6dc"],
  Dune: ["#d9c7a8", "#b39c76", "#efe3cd", "#f3ece0"], Walnut: ["#8a5a3a", "#5e3a22", "#b07d58", "#f0e5da"],
  Mist: ["#c4cad3", "#98a1ad", "#e4e8ed", "#e3e9f0"],
};

const rect = (x, y, w, h, r, fill, more = "") => `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="${r}" fill="${fill}" ${more}/>`;
const circle = (x, y, r, fill, more = "") => `<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}" ${more}/>`;
const line = (d, stroke, width, more = "") => `<path d="${d}" fill="none" stroke="${stroke}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round" ${more}/>`;
const shape = (d, fill, more = "") => `<path d="${d}" fill="${fill}" ${more}/>`;
const lens = (x, y, r) => circle(x, y, r, "#0c0e12") + circle(x, y, r * 0.72, "#1d2735") + circle(x, y, r * 0.45, "#0a0d12") + circle(x - r * 0.28, y - r * 0.3, r * 0.16, "#8fb4e8");
const glow = "url(#screen)";

const ART = {
  phone: (b, s, l) => `<g transform="rotate(-8 250 320)">${rect(160, 110, 200, 420, 36, s)}${rect(154, 106, 200, 420, 36, b)}${rect(172, 124, 96, 140, 26, l)}${lens(203, 158, 24)}${lens(203, 228, 24)}${circle(246, 160, 9, "#fff3c9")}</g>
    <g transform="rotate(7 400 330)">${rect(306, 122, 206, 424, 36, s)}${rect(314, 130, 190, 408, 30, glow)}${circle(409, 150, 7, "#0c0e12")}${rect(372, 522, 74, 5, 2, "#ffffff99")}</g>`,
  fold: (b, s, l) => `${shape("M150 140 L316 120 L316 540 L150 510 Z", s)}${shape("M316 120 L500 140 L500 520 L316 540 Z", b)}${shape("M164 156 L312 138 L312 522 L164 496 Z", glow)}${shape("M320 138 L486 156 L486 504 L320 522 Z", glow)}${line("M316 122V538", l, 4)}`,
  bank: (b, s, l) => `<g transform="rotate(-10 320 320)">${rect(208, 130, 232, 390, 44, s)}${rect(200, 122, 232, 390, 44, b)}${circle(316, 280, 74, "none", `stroke="${l}" stroke-width="16"`)}${rect(306, 372, 20, 46, 10, l)}${[0, 1, 2, 3].map((n) => circle(280 + n * 24, 470, 6, n < 3 ? "#4fd08a" : s)).join("")}</g>`,
  charger: (b, s, l) => `${rect(220, 200, 210, 260, 40, s)}${rect(210, 192, 210, 260, 40, b)}${[0, 1].map((n) => rect(268, 250 + n * 54, 94, 26, 13, s)).join("")}${rect(274, 366, 82, 34, 5, s)}${rect(262, 110, 26, 90, 6, "#aeb6c0")}${rect(342, 110, 26, 90, 6, "#aeb6c0")}`,
  headphones: (b, s, l) => `${line("M180 360 C170 120 470 120 460 360", s, 34)}${line("M180 350 C172 132 468 132 460 350", b, 26)}<g transform="rotate(6 180 400)">${rect(130, 320, 96, 170, 48, b)}${rect(198, 332, 44, 146, 22, s)}${circle(166, 405, 22, l)}</g><g transform="rotate(-6 460 400)">${rect(414, 320, 96, 170, 48, b)}${rect(398, 332, 44, 146, 22, s)}${circle(474, 405, 22, l)}</g>`,
  buds: (b, s, l) => `${rect(178, 300, 284, 210, 84, s)}${rect(170, 290, 284, 210, 84, b)}${line("M176 372H448", s, 5)}${circle(312, 430, 7, "#4fd08a")}<g transform="rotate(-14 240 200)">${circle(236, 180, 48, b)}${rect(216, 190, 34, 116, 17, b)}${circle(258, 172, 22, s)}</g><g transform="rotate(14 400 200)">${circle(396, 180, 48, l)}${rect(384, 190, 34, 116, 17, l)}${circle(374, 172, 22, s)}</g>`,
  speaker: (b, s, l) => `${rect(206, 110, 240, 420, 30, s)}${rect(196, 104, 240, 420, 30, b)}${circle(316, 216, 56, "#20242c")}${circle(316, 216, 30, "#3a404c")}${circle(316, 392, 92, "#20242c")}${circle(316, 392, 60, "#343a46")}${circle(316, 392, 24, "#4d5563")}${circle(316, 500, 5, l)}`,
  roll: (b, s, l) => `<g transform="rotate(-18 320 320)">${rect(120, 230, 400, 190, 95, s)}${rect(120, 220, 400, 190, 95, b)}${Array.from({ length: 11 }, (_, n) => line(`M${200 + n * 24} 252V378`, s, 5, 'stroke-dasharray="2 10"')).join("")}${circle(152, 315, 46, l)}${circle(488, 315, 46, l)}${line("M470 240 C520 170 560 210 548 262", l, 10)}</g>`,
  soundbar: (b, s, l) => `${rect(80, 370, 480, 70, 24, s)}${rect(80, 362, 480, 66, 24, b)}${Array.from({ length: 20 }, (_, n) => circle(120 + n * 21, 395, 4, l)).join("")}${rect(240, 170, 160, 170, 22, b)}${circle(320, 255, 52, s)}${circle(320, 255, 28, l)}`,
  mic: (b, s, l) => `${rect(250, 90, 140, 250, 70, s)}${rect(244, 86, 140, 250, 70, b)}${[0, 1, 2, 3, 4].map((n) => line(`M262 ${140 + n * 30}H366`, l, 5)).join("")}${line("M200 260 C200 420 428 420 428 260", s, 16)}${line("M314 384V490", s, 18)}${rect(214, 486, 200, 28, 14, b)}`,
  laptop: (b, s, l) => `${rect(140, 150, 360, 250, 20, s)}${rect(152, 162, 336, 226, 10, glow)}${shape("M96 430 L140 396 H500 L544 430 Z", l)}${shape("M96 430H544V444Q544 456 530 456H110Q96 456 96 444Z", b)}${rect(276, 430, 88, 9, 4, s)}${shape("M190 404H450L462 418H178Z", s)}`,
  mini: (b, s, l) => `${rect(170, 240, 310, 200, 40, s)}${rect(164, 228, 310, 200, 40, b)}${rect(196, 340, 54, 22, 8, "#20242c")}${rect(268, 340, 54, 22, 8, "#20242c")}${circle(360, 351, 9, "#20242c")}${circle(430, 351, 13, "none", `stroke="${s}" stroke-width="5"`)}${circle(319, 286, 18, l)}`,
  monitor: (b, s) => `${rect(90, 120, 460, 300, 18, b)}${rect(102, 132, 436, 264, 8, glow)}${rect(290, 420, 60, 70, 0, s)}${rect(220, 484, 200, 24, 12, b)}`,
  keyboard: (b, s, l) => `<g transform="rotate(-8 320 320)">${rect(76, 220, 488, 210, 26, s)}${rect(76, 208, 488, 210, 26, b)}${[0, 1, 2, 3].map((row) => Array.from({ length: row === 3 ? 7 : 12 }, (_, n) => rect(98 + (row === 3 && n > 3 ? 176 + n * 38 - 38 : n * 38), 228 + row * 44, row === 3 && n === 3 ? 176 : 31, 35, 7, (n + row * 3) % 11 === 0 ? "#f07a55" : l)).join("")).join("")}</g>`,
  mouse: (b, s, l) => `<g transform="rotate(14 320 320)">${rect(226, 140, 200, 370, 100, s)}${rect(218, 132, 200, 370, 100, b)}${line("M318 136V270", s, 4)}${rect(306, 190, 24, 60, 12, "#40464f")}${line("M220 286 C260 304 376 304 416 286", l, 5)}</g>`,
  ssd: (b, s, l) => `<g transform="rotate(-16 320 320)">${rect(206, 140, 240, 360, 34, s)}${rect(198, 132, 240, 360, 34, b)}${[0, 1, 2, 3, 4, 5].map((n) => line(`M232 ${190 + n * 26}H404`, l, 6)).join("")}${circle(318, 440, 7, "#fff")}${rect(292, 480, 52, 14, 6, "#20242c")}</g>`,
  tablet: (b, s, l) => `<g transform="rotate(-6 320 320)">${rect(128, 158, 400, 310, 28, s)}${rect(122, 150, 400, 310, 28, b)}${rect(142, 168, 360, 274, 12, glow)}</g>${line("M500 180L420 520", l, 14)}${line("M420 520L416 538", "#40464f", 8)}`,
  reader: (b, s) => `<g transform="rotate(5 320 320)">${rect(196, 100, 270, 440, 24, s)}${rect(188, 94, 270, 440, 24, b)}${rect(210, 120, 226, 350, 6, "#f4f1e8")}${Array.from({ length: 11 }, (_, n) => line(`M232 ${152 + n * 28}H${n % 4 === 3 ? 360 : 414}`, "#8b877c", 5)).join("")}</g>`,
  watch: (b, s, l) => `${rect(252, 70, 136, 500, 40, s)}${rect(262, 66, 116, 508, 36, b)}${rect(206, 196, 236, 248, 66, "#8b929d")}${rect(216, 206, 216, 228, 58, "#0f1218")}${circle(324, 320, 76, "none", 'stroke="#2b3340" stroke-width="12"')}<path d="M324 244a76 76 0 1 1-72 100" fill="none" stroke="${l}" stroke-width="12" stroke-linecap="round"/>${line("M324 320V272M324 320L356 340", "#fff", 8)}${rect(440, 296, 14, 48, 7, "#8b929d")}`,
  band: (b, s, l) => `<g transform="rotate(18 320 320)">${rect(262, 60, 116, 520, 56, s)}${rect(270, 56, 100, 520, 50, b)}${rect(254, 200, 132, 240, 58, "#0f1218")}${line("M284 350L304 322L322 360L342 300L356 330", l, 8)}${rect(288, 240, 64, 16, 8, "#fff")}</g>`,
  pen: (b, s, l) => `<g transform="rotate(38 320 320)">${rect(296, 80, 50, 400, 25, s)}${rect(290, 76, 50, 400, 25, b)}${shape("M290 470H340L320 556H310Z", l)}${shape("M311 540H319L317 562H313Z", "#2b2f38")}${rect(306, 180, 18, 60, 9, s)}</g>`,
  camera: (b, s, l) => `${rect(110, 210, 420, 260, 36, s)}${rect(104, 200, 420, 260, 36, b)}${shape("M240 200L262 156H372L394 200Z", b)}${rect(104, 250, 420, 130, 0, "#1b1e24")}${circle(320, 330, 124, s)}${circle(320, 330, 110, "#0f1115")}${lens(320, 330, 84)}${circle(470, 226, 14, l)}${rect(140, 182, 56, 22, 8, s)}`,
  pocket: (b, s, l) => `${rect(252, 270, 140, 300, 40, s)}${rect(246, 264, 140, 300, 40, b)}${rect(268, 300, 96, 140, 12, glow)}${circle(316, 490, 22, "#e04a33")}${rect(298, 210, 36, 70, 12, l)}${rect(236, 80, 160, 140, 50, b)}${lens(316, 150, 50)}`,
  instant: (b, s, l) => `${rect(130, 190, 380, 300, 60, s)}${rect(130, 180, 380, 290, 60, b)}${circle(320, 320, 92, l)}${lens(320, 320, 66)}${rect(410, 210, 64, 44, 12, "#fff6d8")}${circle(186, 240, 20, "#fff")}${rect(230, 456, 180, 120, 6, "#fff")}${rect(244, 480, 152, 82, 2, glow)}`,
  drone: (b, s, l) => `${line("M320 320L170 200M320 320L470 200M320 320L170 430M320 320L470 430", s, 22)}${[[170, 200], [470, 200], [170, 430], [470, 430]].map(([x, y]) => `<ellipse cx="${x}" cy="${y}" rx="100" ry="20" fill="${l}" opacity=".75"/>` + circle(x, y, 18, "#40464f")).join("")}${rect(244, 250, 152, 140, 46, b)}${lens(320, 366, 34)}`,
  action: (b, s) => `${rect(150, 180, 346, 290, 48, s)}${rect(144, 172, 346, 290, 48, b)}${rect(170, 200, 120, 84, 12, glow)}${circle(388, 300, 84, "#0f1115")}${lens(388, 300, 66)}${rect(200, 150, 70, 24, 8, "#e04a33")}${rect(176, 400, 90, 12, 6, s)}`,
  tripod: (b, s, l) => `${rect(276, 90, 92, 56, 14, b)}${rect(300, 140, 44, 130, 10, s)}${line("M320 250L190 560", b, 24)}${line("M324 250L450 560", b, 24)}${line("M322 250V540", s, 20)}${[["256 402", "234 454"], ["386 402", "408 454"]].map(([from, to]) => line(`M${from}L${to}`, l, 8)).join("")}`,
  kettle: (b, s, l) => `${shape("M220 230H410L456 500Q458 520 438 520H196Q176 520 178 500Z", s)}${shape("M214 224H402L446 494Q448 514 428 514H190Q170 514 172 494Z", b)}${line("M430 260 C540 250 540 430 446 440", "#40464f", 26)}${shape("M214 240L150 262L206 320Z", b)}${rect(280, 180, 60, 44, 16, "#40464f")}${circle(308, 430, 40, "#0f1218")}${line("M296 430H320", l, 8)}`,
  coffee: (b, s, l) => `${rect(160, 120, 330, 110, 26, b)}${rect(160, 200, 110, 300, 10, s)}${rect(150, 480, 350, 50, 18, b)}${rect(330, 230, 90, 46, 10, "#40464f")}${line("M330 256H480", "#40464f", 16)}${shape("M332 380H420L408 480H344Z", "#fff")}${line("M376 282V372", "#5e3a22", 8)}${circle(210, 172, 20, l)}${circle(450, 172, 12, "#4fd08a")}`,
  purifier: (b, s, l) => `${rect(196, 90, 258, 460, 56, s)}${rect(188, 84, 258, 460, 56, b)}${Array.from({ length: 9 }, (_, row) => Array.from({ length: 8 }, (_, n) => circle(226 + n * 26, 300 + row * 24, 5, s)).join("")).join("")}${circle(317, 190, 54, "#0f1218")}${line("M284 196C300 176 316 216 350 184", "#4fd08a", 7)}`,
  robot: (b, s, l) => `<ellipse cx="320" cy="352" rx="220" ry="176" fill="${s}"/><ellipse cx="320" cy="328" rx="220" ry="176" fill="${b}"/><ellipse cx="320" cy="312" rx="160" ry="122" fill="none" stroke="${s}" stroke-width="4"/><ellipse cx="320" cy="262" rx="66" ry="46" fill="#20242c"/><ellipse cx="320" cy="252" rx="66" ry="42" fill="#3a404c"/>${circle(320, 400, 16, l, `stroke="${s}" stroke-width="4"`)}`,
  lamp: (b, s, l) => `${shape("M250 250L480 330L560 520L150 470Z", "#fff3c9", 'opacity=".8"')}${line("M230 520L190 300L330 170", b, 22)}${circle(190, 300, 18, s)}<g transform="rotate(20 360 190)">${rect(270, 160, 240, 46, 23, b)}${rect(290, 196, 200, 12, 6, "#ffe9a3")}</g>${rect(140, 510, 190, 34, 17, s)}`,
  lock: (b, s, l) => `${rect(236, 70, 150, 500, 40, s)}${rect(228, 66, 150, 500, 40, b)}${rect(252, 96, 102, 200, 18, "#0f1218")}${Array.from({ length: 9 }, (_, n) => circle(275 + (n % 3) * 28, 130 + Math.floor(n / 3) * 34, 6, "#8fb4e8")).join("")}${circle(303, 256, 20, "none", 'stroke="#4fd08a" stroke-width="5"')}${rect(270, 360, 230, 52, 26, l)}${circle(303, 386, 38, s)}`,
  webcam: (b, s, l) => `${circle(320, 270, 150, s)}${circle(314, 262, 150, b)}${circle(314, 262, 94, "#0f1115")}${lens(314, 262, 72)}${shape("M200 470Q320 380 440 470L470 530H170Z", b)}${circle(314, 390, 6, "#4fd08a")}${circle(420, 170, 10, l)}`,
};

function svg(art, colour) {
  const [body, shade, light, ground] = COLOURS[colour];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 640" width="${SIZE}" height="${SIZE}"><defs><radialGradient id="g" cx=".5" cy=".38" r=".75"><stop stop-color="#fff" stop-opacity=".85"/><stop offset="1" stop-color="#fff" stop-opacity="0"/></radialGradient>
<linearGradient id="screen" x1="0" y1="0" x2="1" y2="1"><stop stop-color="#23366e"/><stop offset=".55" stop-color="#6d4fb3"/><stop offset="1" stop-color="#f0826a"/></linearGradient></defs>
<rect width="640" height="640" fill="${ground}"/><rect width="640" height="640" fill="url(#g)"/><ellipse cx="320" cy="572" rx="190" ry="20" fill="#1b2330" opacity=".13"/><g transform="translate(32 26) scale(.9)">${ART[art](body, shade, light)}</g></svg>`;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
const page = await browser.newPage();
let bytes = 0;
for (const [index, product] of products.entries()) {
  for (const [at, colour] of product.colours.slice(0, 2).entries()) {
    const drawn = svg(product.art, colour.split(" / ")[1]);
    const url = await page.evaluate(async ([text, size]) => {
      const image = new Image();
      image.src = `data:image/svg+xml;base64,${btoa(text)}`;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
      canvas.getContext("2d").drawImage(image, 0, 0, size, size);
      return canvas.toDataURL("image/webp", 0.82);
    }, [drawn, SIZE]);
    const file = Buffer.from(url.split(",")[1], "base64");
    bytes += file.length;
    writeFileSync(join(here, "pictures", `${String(index + 1).padStart(2, "0")}-${at + 1}.webp`), file);
  }
}
console.log(`${bytes} bytes`);
await browser.close();
