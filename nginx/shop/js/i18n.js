// Languages, money and dates.

import { words } from "./words.js";

const CHOICE = "mall.language";

function initial() {
  const chosen = localStorage.getItem(CHOICE);
  if (chosen === "zh" || chosen === "en") return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export let language = initial();
apply();

export function setLanguage(next) {
  language = next;
  localStorage.setItem(CHOICE, next);
  apply();
}

function apply() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

/** The words for `key`, with `{name}` replaced by what `values` has. */
export function t(key, values = {}) {
  const pair = words[key];
  const text = pair ? pair[language === "zh" ? 0 : 1] : key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Whether there are words for `key`. */
export function known(key) {
  return key in words;
}

/** A catalogue text "中文 / English" in the current language; any other text as it is. */
export function local(text) {
  const halves = (text ?? "").split(" / ");
  if (halves.length !== 2) return text ?? "";
  return halves[language === "zh" ? 0 : 1];
}

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

export function money(cents) {
  const whole = cents % 100 === 0;
  const style = { style: "currency", currency: "CNY", currencyDisplay: "narrowSymbol", minimumFractionDigits: whole ? 0 : 2 };
  return new Intl.NumberFormat(locale(), style).format(cents / 100);
}

export function date(text) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}

/** "05:09", "26:05:09" or "3 d 02:05:09". */
export function duration(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [days, hours] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24];
  const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  if (days > 0) return `${days} ${t("days")} ${two(hours)}:${clock}`;
  return hours > 0 ? `${two(hours)}:${clock}` : clock;
}
