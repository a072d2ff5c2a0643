/** Columns: what each is called, how wide it is, and how its values are read, written and sorted. */

import { factorOf, titleOf } from "./catalogue.js";
import { formatNumber, formatPrice, t } from "./i18n.js";
import { medianOf } from "./likeness.js";
import { market } from "./market.js";
import { personal } from "./personal.js";

/**
 * @typedef {object} Column
 * @property {string} key as it stands in the address
 * @property {"symbol"|"number"|"score"|"spark"|"why"} kind how its cells are drawn
 * @property {string} title
 * @property {string} hint what it is, in a sentence
 * @property {number} width
 * @property {boolean} live whether it moves between closes
 * @property {boolean} flashes whether a move is shown for a moment
 * @property {boolean} toned whether up and down have their colours
 * @property {string|null} expression what the hub computes for it
 * @property {(row: number) => number|string} value what it is sorted by and exported as
 * @property {(value: any, row: number) => string} write
 * @property {string} [error] why it has no values
 */

const WIDTHS = { symbol: 160, number: 64, score: 108, spark: 104, why: 92 };
const LEAST = 48;
const MOST = 480;

const BUILT_IN = {
  symbol: { kind: "symbol", value: (row) => market.symbols[row].symbol, write: String },
  price: { kind: "number", live: true, flashes: true, value: (row) => market.price[row], write: priced, width: 92 },
  change: { kind: "number", live: true, flashes: true, toned: true, value: (row) => market.change[row], write: percent, width: 78 },
  day: { kind: "number", live: true, toned: true, value: (row) => market.day[row], write: percent, width: 78 },
  turnover24h: { kind: "number", live: true, value: (row) => market.turnover[row], write: compact, width: 84 },
  spark: { kind: "spark", value: () => NaN, write: () => "" },
  score: { kind: "score", toned: true, value: (row) => market.score[row], write: (value) => formatNumber(value, "signed") },
  like: { kind: "number", toned: true, value: (row) => medianOf(market.score[row]), write: percent, width: 84 },
  why: { kind: "why", value: (row) => market.score[row], write: (value) => formatNumber(value, "signed") },
};

/** The columns that are no expressions, by their keys. */
export const OWN = Object.keys(BUILT_IN).filter((key) => key !== "symbol");

function priced(value, row) {
  return formatPrice(value, market.symbols[row].price_decimals);
}

function percent(value) {
  return formatNumber(value, "percent");
}

function compact(value) {
  return formatNumber(value, "compact");
}

/**
 * Make the column of a key.
 * @param {string} key
 * @returns {Column}
 */
export function columnOf(key) {
  const base = key in BUILT_IN ? builtIn(key) : expression(key);
  return { live: false, flashes: false, toned: false, expression: null, ...base, key, width: widthOf(key, base) };
}

function builtIn(key) {
  const frame = market.bar?.timeframe ?? "";
  return { ...BUILT_IN[key], title: t(`column.${key}`, { frame }), hint: t(`column.${key}.hint`, { frame }) };
}

function expression(key) {
  const factor = factorOf(key);
  const hint = factor ? `${titleOf(factor)}: ${factor.formula} · ${factor.unit}, ${factor.range}` : key;
  const error = market.errors.columns[key]?.message;
  const value = (row) => market.values[key]?.[row] ?? NaN;
  return { kind: "number", title: key, hint, error, expression: key, value, write: writer(key, factor) };
}

/** Values of one column have as many decimals as most of them need, so that their points stand in a line. */
function writer(key, factor) {
  const share = factor?.unit.startsWith("share of the price");
  let format = null;
  let view = -1;
  return (value) => {
    if (Number.isNaN(value)) return "–";
    if (format === null || view !== market.bar?.view) {
      view = market.bar?.view ?? -1;
      format = formatOf(market.values[key], share);
    }
    return format(value);
  };
}

function formatOf(values, share) {
  const scale = share ? 100 : 1;
  const sizes = [];
  for (let row = 0; row < (values?.length ?? 0); row++) if (values[row]) sizes.push(Math.abs(values[row]) * scale);
  sizes.sort((a, b) => a - b);
  // Of the larger ones, since some factors are next to nothing for most symbols.
  const size = sizes[Math.floor(sizes.length * 0.8)] || 1;
  if (size >= 100_000) return (value) => formatNumber(value, "compact");
  const fixed = Math.max(0, Math.min(8, 2 - Math.floor(Math.log10(size))));
  return share ? (value) => `${(value * 100).toFixed(fixed)}%` : (value) => value.toFixed(fixed);
}

function widthOf(key, base) {
  const kept = personal.get("widths", {})[key];
  if (Number.isFinite(kept)) return within(kept);
  return base.width ?? Math.max(WIDTHS[base.kind], base.kind === "number" ? Math.min(220, 26 + 6.8 * base.title.length) : 0);
}

/**
 * Keep a width within what can be read and reached.
 * @param {number} width
 * @returns {number}
 */
export function within(width) {
  return Math.max(LEAST, Math.min(MOST, Math.round(width)));
}

/**
 * Keep how wide a column is; null for as wide as it is at first.
 * @param {string} key
 * @param {number|null} width
 */
export function keepWidth(key, width) {
  const { [key]: _, ...widths } = personal.get("widths", {});
  if (width !== null) widths[key] = within(width);
  personal.set("widths", widths);
}

/** A symbol counts as new for a week. */
const NEW_FOR = 7 * 86_400_000;
const LONG = 20;

/**
 * Say what there is to know of a symbol beside its numbers.
 * @param {number} row
 * @returns {{isNew: boolean, ends: number, halted: string}} `ends` is when it is delisted, 0 for not in sight
 */
export function standing(row) {
  const one = market.symbols[row];
  const age = market.time - one.onboard_time;
  return {
    isNew: one.onboard_time > 0 && age >= 0 && age < NEW_FOR,
    ends: one.delivery_time,
    halted: one.status === "TRADING" ? "" : one.status,
  };
}

/**
 * Say to which side a score leans.
 * @param {number} score
 * @returns {"long"|"short"|"flat"|""} nothing where there is no score
 */
export function sideOf(score) {
  if (Number.isNaN(score)) return "";
  if (score >= LONG) return "long";
  return score <= -LONG ? "short" : "flat";
}
