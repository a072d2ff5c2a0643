/** Bars and factor values of one symbol, as the hub gives them. */

import { getJson } from "./api.js";

/** As many as fill a wide screen a few times. */
const PAGE = 500;
const SIZES = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** @typedef {import("./chart.js").Bar} Bar */
/** @typedef {{symbol: string, timeframe: string, at: number, signal: AbortSignal}} Subject `at` 0 is now */

/**
 * Say how long a bar is.
 * @param {string} timeframe
 * @returns {number} ms; 0 for months, which differ
 */
export function lengthOf(timeframe) {
  return Number.parseInt(timeframe, 10) * (SIZES[timeframe.at(-1)] ?? 0);
}

/**
 * Ask for the newest bars: with the one that is open if it is about now, only closed ones if about the past.
 * @param {Subject} subject
 * @param {number} [limit]
 * @returns {Promise<{bars: Bar[], stale: string|null}>}
 */
export async function newestBars({ symbol, timeframe, at, signal }, limit = PAGE) {
  const which = at ? { end: at } : { forming: "yes" };
  const told = await getJson("api/v1/klines", { symbol, timeframe, limit, layout: "columns", ...which }, { signal });
  const bars = barsOf(told.columns);
  return { bars: at ? bars.filter((bar) => bar.close_time <= at) : bars, stale: told.stale };
}

/**
 * Ask for the bars before one.
 * @param {Subject} subject
 * @param {number} before open time
 * @returns {Promise<Bar[]>} none where there are none
 */
export async function olderBars({ symbol, timeframe, signal }, before) {
  const asked = { symbol, timeframe, limit: PAGE, layout: "columns", end: before };
  return barsOf((await getJson("api/v1/klines", asked, { signal })).columns);
}

/**
 * Ask for the values of an expression at closed bars.
 * @param {Subject} subject
 * @param {string} column
 * @param {{end?: number, limit: number}} which the newest ones, or those that open before `end`
 * @returns {Promise<{open_time: number[], values: (number|null)[]}>}
 */
export async function valuesOf({ symbol, timeframe, at, signal }, column, { end = 0, limit }) {
  const asked = { symbol, timeframe, columns: column, limit: Math.min(limit, 1_000), end: end || at || undefined };
  const told = await getJson("api/v1/series", asked, { signal });
  return { open_time: told.open_time, values: told.values[column] ?? Object.values(told.values)[0] };
}

function barsOf({ open_time, open, high, low, close, volume, close_time, quote_volume, state }) {
  return open_time.map((time, i) => ({
    open_time: time, open: open[i], high: high[i], low: low[i], close: close[i], volume: volume[i],
    close_time: close_time[i], quote_volume: quote_volume[i], forming: state[i] === 1,
  }));
}

/**
 * Carry a bar on by a price; a price behind its end begins the next one.
 * @param {Bar|undefined} last
 * @param {number} price
 * @param {number} time of the exchange
 * @param {number} length of a bar in ms
 * @returns {Bar|null} null where the price says nothing new, or where nobody knows which bar it belongs to
 */
export function carried(last, price, time, length) {
  if (!last || !length || Number.isNaN(price)) return null;
  if (time > last.close_time) {
    const open_time = last.open_time + Math.floor((time - last.open_time) / length) * length;
    const fresh = { open_time, close_time: open_time + length - 1, volume: 0, quote_volume: 0, forming: true };
    return { ...fresh, open: price, high: price, low: price, close: price };
  }
  if (!last.forming || price === last.close) return null;
  return { ...last, high: Math.max(last.high, price), low: Math.min(last.low, price), close: price };
}
