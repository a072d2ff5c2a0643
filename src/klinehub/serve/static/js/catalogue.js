/** The words of the filter language: factors as the hub has them, fields of a bar, functions and timeframes. */

import { getJson } from "./api.js";
import { t, tOr } from "./i18n.js";

/**
 * @typedef {object} Factor
 * @property {string} name
 * @property {string} family
 * @property {string} title
 * @property {Record<string, number>} options
 * @property {string} formula
 * @property {string} unit
 * @property {string} range
 */

const FIELDS = [
  "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_base", "taker_quote", "open_time",
  "mark_price", "index_price", "funding_rate", "open_interest", "spot_close", "spot_quote_volume", "benchmark", "age",
];
const FUNCTIONS = [
  "abs(x)", "sqrt(x)", "known(x)", "min(x, y)", "max(x, y)", "where(condition, x)", "clip(x, low, high)",
  "lag(x, bars)", "on(x, 4h)", "rank(x)", "zscore(x)", "mean(x)", "winsorize(x)",
];
const WORDS = ["and", "or", "not"];
/** A factor alone, as most columns are: its name, a timeframe, options. */
const ALONE = /^([a-z_][a-z0-9_]*?)(?:_(\d+[mhdwM]))?(?:\(([^()]*)\))?(?:_(\d+[mhdwM]))?$/;

/** @type {Map<string, Factor>} */
let byName = new Map();
let asked = null;

/** @returns {Promise<Map<string, Factor>>} the factors by their names; asked for once, again where that failed */
export function factors() {
  asked ??= getJson("api/v1/factors").then(
    (rows) => (byName = new Map(rows.map((row) => [row.name, row]))),
    (error) => {
      asked = null;
      throw error;
    },
  );
  return asked;
}

/**
 * Give the factor that an expression is, if it is one alone.
 * @param {string} text
 * @returns {Factor|undefined}
 */
export function factorOf(text) {
  const found = ALONE.exec(text.trim());
  return found ? byName.get(text.trim()) ?? byName.get(found[1]) : undefined;
}

/**
 * Say in a line what a factor is, in the reader's language.
 * @param {Factor} factor
 * @returns {string}
 */
export function titleOf(factor) {
  return tOr(`factor.${factor.name}`, factor.title);
}

/** @typedef {{word: string, insert: string, title: string, note: string, kind: "factor"|"field"|"function"|"word"}} Word */

/** @returns {Word[]} all words that may be completed, factors first */
export function words() {
  const known = [...byName.values()].map((one) => ({
    word: one.name, insert: one.name, title: titleOf(one), note: `${one.formula} · ${one.unit}`, kind: "factor",
  }));
  const fields = FIELDS.map((name) => ({ word: name, insert: name, title: t(`field.${name}`), note: "", kind: "field" }));
  const functions = FUNCTIONS.map((text) => {
    const name = text.slice(0, text.indexOf("("));
    return { word: name, insert: `${name}(`, title: t(`function.${name}`), note: text, kind: "function" };
  });
  return [...known, ...fields, ...functions, ...WORDS.map((word) => ({ word, insert: `${word} `, title: t(`word.${word}`), note: "", kind: "word" }))];
}

/**
 * Find the words that go on from what stands before a place.
 * @param {string} text
 * @param {number} at
 * @param {string[]} timeframes those of the hub, offered after a whole name and a `_`
 * @returns {{from: number, words: Word[]}} `from` is where the word begins
 */
export function completions(text, at, timeframes) {
  const typed = /[A-Za-z_][A-Za-z0-9_]*$/.exec(text.slice(0, at))?.[0] ?? "";
  const from = at - typed.length;
  if (!typed) return { from, words: [] };
  const low = typed.toLowerCase();
  const begins = [];
  const within = [];
  for (const one of words()) {
    if (one.word === typed && one.kind !== "factor" && one.kind !== "field") continue;
    if (one.word.startsWith(low)) begins.push(one);
    else if (low.length > 1 && (one.word.includes(low) || one.title.toLowerCase().includes(low))) within.push(one);
  }
  return { from, words: [...begins, ...onTimeframes(low, timeframes), ...within].slice(0, 60) };
}

function onTimeframes(low, timeframes) {
  const cut = low.lastIndexOf("_");
  const name = low.slice(0, cut);
  const factor = byName.get(name);
  if (cut < 1 || (!factor && !FIELDS.includes(name))) return [];
  const title = factor ? titleOf(factor) : t(`field.${name}`);
  return timeframes.filter((frame) => frame.startsWith(low.slice(cut + 1))).map((frame) => ({
    word: `${name}_${frame}`, insert: `${name}_${frame}`, title: t("filter.on", { title, frame }), note: "", kind: "factor",
  }));
}
