// The live board: numbers, light and chart of a sale, from server-sent events. Does nothing on other pages.

const TICKS_MAX = 600;
const WIDTH = 600;
const HEIGHT = 180;
/** How long after a start or an end the page is loaded again, in milliseconds: clocks of hosts differ a little. */
const RELOAD_AFTER_MS = 500;
const SERIES = ["available", "held", "sold"];
const SVG = "http://www.w3.org/2000/svg";
const board = document.querySelector("#board");
const ticks = [];

if (board) watch(board.dataset.live);

function t(zh, en) {
  return board.dataset.lang.startsWith("zh") ? zh : en;
}

function watch(address) {
  const source = new EventSource(address);
  source.addEventListener("ticks", (event) => {
    const { ticks: later, traffic } = JSON.parse(event.data);
    for (const tick of later) if (ticks.length === 0 || tick.at > ticks[ticks.length - 1].at) ticks.push(tick);
    ticks.splice(0, Math.max(0, ticks.length - TICKS_MAX));
    if (ticks.length > 0) show();
    gateways(traffic);
    note(t("实时，每秒更新", "Live, once a second"));
  });
  source.addEventListener("error", () => {
    // The browser connects again by itself, unless it was refused.
    note(source.readyState === EventSource.CLOSED ? t("连接已断开，请刷新页面。", "The connection has ended. Reload the page.") : t("正在重新连接…", "Connecting again…"));
  });
}

function note(text) {
  const line = document.querySelector("#stream-state");
  if (line.textContent !== text) line.textContent = text;
}

function number(value) {
  return value.toLocaleString("en-US");
}

function put(id, text) {
  document.querySelector(`#${id}`).textContent = text;
}

function show() {
  const now = ticks[ticks.length - 1];
  if (board.dataset.changes && Date.parse(now.at) >= Number(board.dataset.changes) + RELOAD_AFTER_MS) {
    delete board.dataset.changes;
    location.reload();
  }
  for (const name of ["total", ...SERIES, "term", "seq"]) put(name, number(now[name]));
  const at = new Date(Date.parse(now.at) + 8 * 3_600_000).toISOString();
  put("at", `${at.slice(0, 10)} ${at.slice(11, 19)} UTC+8`);
  put("tile-accepted", number(now.accepted));
  put("tile-released", number(now.released));
  put("tile-lag", number(now.lag));
  put("tile-log-lag", number(now.log_lag));
  put("tile-rate", number(rate((tick) => tick.accepted)));
  const light = now.seq === 0 ? "off" : now.light;
  const words = { green: t("账目相符", "The books balance"), amber: t("正在核对", "Waiting for a side that is behind"), red: t("账目不符", "The books do not balance"), off: t("账本尚未打开", "The ledger is not open yet") };
  document.querySelector("#light").dataset.light = light;
  if (document.querySelector("#light-text").textContent !== words[light]) put("light-text", words[light]);
  const checks = now.seq === 0 ? [] : now.checks;
  document.querySelector("#checks").replaceChildren(...checks.map((check) => {
    const line = document.createElement("li");
    const name = document.createElement("strong");
    name.textContent = check.id;
    line.className = check.ok ? "ok" : "not-ok";
    line.append(name, ` ${check.detail}`);
    return line;
  }));
  draw();
}

/** What the gateways answer, by gateway and by code. */
function gateways({ gateways: each, answers, answers_per_second: perSecond, p50_ms: p50, p99_ms: p99, consumer_lag: lag }) {
  put("tile-answers", number(perSecond));
  // A second without a batch keeps the last figure.
  if (p50 !== null) put("tile-p50", `≤ ${p50} ms`);
  if (p99 !== null) put("tile-p99", `≤ ${p99} ms`);
  if (lag !== null) put("tile-consumer-lag", number(lag));
  const some = (value) => (value === null ? "–" : number(value));
  const atMost = (ms) => (ms === null ? "–" : `≤ ${ms} ms`);
  if (each.length > 0) rows("#each-gateway", each.map((one) => [name("span", `${one.host} #${one.process_id.slice(-6)}`), some(one.answers_per_second), some(one.accepted_per_second), atMost(one.p50_ms), atMost(one.p99_ms)]));
  rows("#answers", Object.entries(answers).map(([code, { count, per_second: rate }]) => [name("code", code), number(rate), number(count)]));
}

function name(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** Fills a table; all cells but the first are numbers. */
function rows(table, lines) {
  document.querySelector(`${table} tbody`).replaceChildren(...lines.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((content, at) => {
      const cell = document.createElement("td");
      if (at > 0) cell.className = "right";
      cell.append(content);
      return cell;
    }));
    return row;
  }));
}

/** How much `value` has grown per second, over the last three ticks. */
function rate(value) {
  const [before, now] = [ticks[Math.max(0, ticks.length - 4)], ticks[ticks.length - 1]];
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  return seconds > 0 ? Math.round((value(now) - value(before)) / seconds) : 0;
}

function draw() {
  const [first, last] = [Date.parse(ticks[0].at), Date.parse(ticks[ticks.length - 1].at)];
  const [span, most] = [Math.max(last - first, 1000), Math.max(1, ...ticks.map((tick) => tick.total))];
  const x = (tick) => (((Date.parse(tick.at) - first) / span) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - 4 - (value / most) * (HEIGHT - 8)).toFixed(1);
  const shapes = [0, 0.5, 1].map((part) => element("line", { x1: 0, x2: WIDTH, y1: y(part * most), y2: y(part * most) }));
  for (const name of SERIES) {
    const points = ticks.map((tick) => `${x(tick)},${y(tick[name])}`);
    if (points.length === 1) points.push(`${WIDTH},${y(ticks[0][name])}`);
    shapes.push(element("path", { class: name, d: `M${points.join("L")}` }));
  }
  document.querySelector("#chart").replaceChildren(...shapes);
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
