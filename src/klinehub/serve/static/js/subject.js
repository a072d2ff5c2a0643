/** What a symbol's page takes from the table: its factors, and who comes before and after the symbol. */

import { columns } from "./chosen.js";
import { columnOf } from "./columns.js";
import { market } from "./market.js";
import { order } from "./order.js";
import { state } from "./state.js";

/** The factors below the candles; null is the first ones of the table. */
state.define("panes", "list", null);

export const MOST_PANES = 5;
const FIRST_PANES = 2;

/** @returns {string[]} the expressions among the columns of the table */
export function factorColumns() {
  return columns().filter((key) => columnOf(key).expression !== null);
}

/** @returns {string[]} the factors that are shown below the candles */
export function chosenPanes() {
  return (state.get("panes") ?? factorColumns().slice(0, FIRST_PANES)).slice(0, MOST_PANES);
}

/**
 * Show a factor below the candles, or take it off; beyond the most, the oldest makes room.
 * @param {string} name
 */
export function togglePane(name) {
  const now = chosenPanes();
  state.set({ panes: now.includes(name) ? now.filter((one) => one !== name) : [...now, name].slice(-MOST_PANES) });
}

/** Whether the order was taken before anything was known that it goes by. */
let blind = false;

/**
 * Find who stands so many places further in the table; behind its end comes its beginning.
 * @param {string} symbol
 * @param {number} step
 * @returns {string} the first one for a symbol that is not in the table, nothing where nobody is known
 */
export function neighbourOf(symbol, step) {
  if (!order.rows.length || (blind && market.bar)) {
    order.take();
    blind = !market.bar;
  }
  const rows = order.rows.length ? order.rows : [...market.symbols.keys()];
  if (!rows.length) return "";
  const at = rows.indexOf(market.rows.get(symbol));
  return market.symbols[rows[at < 0 ? 0 : (at + step + rows.length) % rows.length]].symbol;
}
