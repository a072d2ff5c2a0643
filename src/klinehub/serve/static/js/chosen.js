/** What the table shows: the columns, filter and order that the address names, or else those of the screen. */

import { market } from "./market.js";
import { state } from "./state.js";

/** Sets of columns for a purpose; what the hub has no data for is left out by the picker. */
export const SETS = {
  overview: ["rsi", "adx", "volume_z", "atr_percent"],
  performance: ["roc", "roc(4)", "roc(96)", "relative_strength", "day_open_distance", "week_open_distance"],
  trend: ["trend", "adx", "adx_direction", "supertrend", "macd", "ema_distance", "linreg_r2"],
  momentum: ["rsi", "stochastic_k", "momentum", "cci", "tsi", "mfi"],
  volatility: ["atr_percent", "bollinger_width", "bollinger_b", "keltner_squeeze", "range_compression", "realised"],
  volume: ["volume_z", "volume_surge", "taker_ratio", "taker_delta", "obv_slope", "trade_size", "vwap_distance"],
  derivatives: ["funding", "funding_annual", "basis", "open_interest_change", "open_interest_turnover"],
};
const LEADING = ["price", "change", "day", "turnover24h", "spark", "score", "why"];
const NARROW = ["price", "change", "score", "day"];
const narrow = matchMedia("(max-width: 640px)");

/** @returns {boolean} whether the window is as narrow as a phone's */
export function isNarrow() {
  return narrow.matches;
}

/**
 * Be told when the window becomes narrow or wide.
 * @param {() => void} listener
 */
export function onNarrow(listener) {
  narrow.addEventListener("change", listener);
  return () => narrow.removeEventListener("change", listener);
}

/** @returns {{name: string, where: string, columns: string[], order_by: string|null}|undefined} */
export function preset() {
  return market.hello?.presets.find((one) => one.name === state.get("preset"));
}

/**
 * Give the columns of a set with those that every set begins with.
 * @param {string[]} columns
 * @returns {string[]}
 */
export function wholeSet(columns) {
  return [...(isNarrow() ? NARROW : LEADING), ...columns];
}

/** @returns {string[]} the columns after the symbol, by their keys */
export function columns() {
  const own = state.get("cols");
  if (own) return [...new Set(own)];
  const chosen = preset();
  if (isNarrow() && !chosen) return wholeSet([]);
  const first = market.hello?.presets.find((one) => one.kind === "score");
  return wholeSet(chosen?.columns.length ? chosen.columns : first?.columns ?? []);
}

/** @returns {string} the condition that rows have to meet, nothing for all */
export function where() {
  return state.get("where") ?? preset()?.where ?? "";
}

/** @returns {{key: string, descending: boolean}} what the rows are sorted by */
export function sort() {
  const text = bare(state.get("sort") ?? preset()?.order_by ?? "-score");
  return text.startsWith("-") ? { key: bare(text.slice(1)), descending: true } : { key: text, descending: false };
}

/**
 * Sort by a column; by the one that it is sorted by already the other way round.
 * @param {string} key
 * @param {boolean} [descending]
 */
export function sortBy(key, descending) {
  const now = sort();
  const down = descending ?? (now.key === key ? !now.descending : key !== "symbol");
  state.set({ sort: down ? `-${key}` : key });
}

/**
 * Show a screen of the hub, or the whole market.
 * @param {string} name
 */
export function choosePreset(name) {
  state.set({ preset: name, where: null, cols: null, sort: null }, { push: true });
}

/**
 * Show these columns.
 * @param {string[]|null} keys null for those of the screen
 */
export function chooseColumns(keys) {
  const pin = state.get("pin").filter((key) => keys === null || keys.includes(key));
  state.set({ cols: keys, pin });
}

/**
 * Put a column before another place.
 * @param {string} key
 * @param {number} to its place afterwards
 */
export function moveColumn(key, to) {
  const keys = columns();
  const from = keys.indexOf(key);
  if (from < 0 || to < 0 || to >= keys.length || from === to) return;
  keys.splice(to, 0, keys.splice(from, 1)[0]);
  state.set({ cols: keys });
}

/**
 * Keep a column beside the symbol while the table is moved sideways, or let it go.
 * @param {string} key
 */
export function togglePin(key) {
  const pin = state.get("pin");
  state.set({ pin: pin.includes(key) ? pin.filter((one) => one !== key) : [...pin, key] });
}

/** Take the outermost brackets off, as expressions printed by the hub have them. */
function bare(text) {
  let found = text.trim();
  while (found.startsWith("(") && closes(found) === found.length - 1) found = found.slice(1, -1).trim();
  return found;
}

function closes(text) {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth++;
    else if (text[i] === ")" && --depth === 0) return i;
  }
  return -1;
}

/** Ask the hub for what the address says, now and whenever it says something else. */
export function followAddress() {
  const look = () => market.look({ timeframe: state.get("tf"), at: state.get("at"), forming: state.get("forming"), where: where() });
  look();
  market.subscribe("hello", look);
  state.subscribe(look);
}
