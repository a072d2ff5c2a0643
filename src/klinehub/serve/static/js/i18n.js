/** Texts in the reader's language, and numbers and times as they write them. */

import { personal } from "./personal.js";
import { state } from "./state.js";

/** The languages, by the name that each gives itself. */
export const LANGUAGES = { en: "English", zh: "简体中文" };
const LOCALES = { en: "en-US", zh: "zh-CN" };
const listeners = new Set();
let texts = {};
let chosen = "en";
let exchangeZone = "UTC";
let formats = new Map();

/**
 * Give a text of the chosen language; a key that is missing stands for itself.
 * @param {string} key
 * @param {Record<string, any>} [params] what stands for `{name}` in it; with `n` = 1 the text of `key.one` is taken
 * @returns {string}
 */
export function t(key, params) {
  const found = (params?.n === 1 && texts[`${key}.one`]) || texts[key] || key;
  return params ? found.replace(/\{(\w+)\}/g, (all, name) => (name in params ? String(params[name]) : all)) : found;
}

/**
 * Give a text for a key that may have none, such as that of a factor of the user's own.
 * @param {string} key
 * @param {string} otherwise
 * @returns {string}
 */
export function tOr(key, otherwise) {
  return texts[key] ?? otherwise;
}

/** @returns {string} the language in use: en or zh */
export function language() {
  return chosen;
}

/** @returns {Promise<void>} when the texts of the language that is wanted are here */
export async function loadTexts() {
  const wanted = state.get("lang") || personal.get("lang", "") || (navigator.language.startsWith("zh") ? "zh" : "en");
  chosen = wanted in LANGUAGES ? wanted : "en";
  const answer = await fetch(new URL(`../lang/${chosen}.json`, import.meta.url));
  texts = answer.ok ? await answer.json() : {};
  formats = new Map();
  document.documentElement.lang = chosen === "zh" ? "zh-Hans" : "en";
}

/**
 * Use another language from now on.
 * @param {string} name en or zh
 */
export async function setLanguage(name) {
  personal.set("lang", name);
  state.set({ lang: "" });
  await loadTexts();
  for (const tell of listeners) tell();
}

/**
 * Be told when texts, numbers or times have to be written anew.
 * @param {() => void} listener
 * @returns {() => void} ends it
 */
export function onLanguage(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Say in which zone times are shown where nobody chose one.
 * @param {string} zone
 */
export function setExchangeZone(zone) {
  if (zone === exchangeZone) return;
  exchangeZone = zone;
  rewrite();
}

/** Write all numbers and times anew, after the zone has changed. */
export function rewrite() {
  formats = new Map();
  for (const tell of listeners) tell();
}

/** @returns {string} the zone in which times are shown */
export function zone() {
  const wanted = state.get("zone") || personal.get("zone", "") || exchangeZone;
  return wanted === "local" ? Intl.DateTimeFormat().resolvedOptions().timeZone : wanted;
}

const TIMES = {
  time: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  minute: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  day: { year: "numeric", month: "2-digit", day: "2-digit" },
  full: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  exact: {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23",
  },
};

/**
 * Write a moment in the chosen zone.
 * @param {number} ms since 1970, UTC
 * @param {"time"|"minute"|"day"|"full"|"exact"} [style]
 * @returns {string} days as 2026-03-05 in every language, since 03/05 is two days
 */
export function formatTime(ms, style = "time") {
  if (!ms) return "–";
  const format = kept(`time.${style}`, () => {
    try {
      return new Intl.DateTimeFormat("sv-SE", { ...TIMES[style], timeZone: zone() });
    } catch {
      // The browser does not know the zone: rather UTC than no time at all.
      return new Intl.DateTimeFormat("sv-SE", { ...TIMES[style], timeZone: "UTC" });
    }
  });
  return format.format(ms);
}

const NUMBERS = {
  whole: { maximumFractionDigits: 0 },
  plain: { maximumSignificantDigits: 4, useGrouping: false },
  points: { minimumFractionDigits: 1, maximumFractionDigits: 1 },
  signed: { minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "exceptZero" },
  percent: { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" },
  compact: { notation: "compact", minimumFractionDigits: 0, maximumSignificantDigits: 4 },
};

/**
 * Write a number; what is not known is a dash.
 * @param {number|null|undefined} value
 * @param {"whole"|"plain"|"points"|"signed"|"percent"|"compact"} [style] percent takes percent, not shares
 * @returns {string}
 */
export function formatNumber(value, style = "plain") {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = kept(style, () => new Intl.NumberFormat(LOCALES[chosen], NUMBERS[style])).format(value);
  return style === "percent" ? `${text}%` : text;
}

/**
 * Write a price with the decimals that its symbol has.
 * @param {number|null|undefined} value
 * @param {number} decimals
 * @returns {string}
 */
export function formatPrice(value, decimals) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const options = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return kept(`price.${decimals}`, () => new Intl.NumberFormat(LOCALES[chosen], options)).format(value);
}

/**
 * Write how long something takes, in its two largest units: 3d 4h, 5m 10s.
 * @param {number} ms
 * @returns {string}
 */
export function formatSpan(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [[86_400, "d"], [3_600, "h"], [60, "m"], [1, "s"]];
  const first = Math.max(0, parts.findIndex(([size]) => seconds >= size));
  let left = seconds;
  const said = parts.slice(first < 0 ? 3 : first, first + 2).map(([size, unit]) => {
    const number = Math.floor(left / size);
    left -= number * size;
    return `${number}${t(`unit.${unit}`)}`;
  });
  return seconds ? said.join(" ") : `0${t("unit.s")}`;
}

function kept(key, make) {
  let found = formats.get(key);
  if (!found) formats.set(key, (found = make()));
  return found;
}
