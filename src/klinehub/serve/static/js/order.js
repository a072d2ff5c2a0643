/**
 * Which rows are shown, and in which order.
 *
 * The order is taken when a bar closes, when the reader asks for something else, and on demand, never in between:
 * a row stays where it is while its values move. While the pointer is over the table, a row is chosen or the table
 * is paused, even a close only marks the order as old (`due`). A table sorted by a price, which moves between
 * closes, is sorted again every ten seconds, unless it is held in one of these ways.
 */

import { columnOf } from "./columns.js";
import { sort } from "./chosen.js";
import { isListed } from "./lists.js";
import { market } from "./market.js";

const AGAIN_AFTER = 10_000;

export const order = {
  /** @type {number[]} rows of the market, as they are shown */
  rows: [],
  /** When the order was taken, by the exchange's clock; 0 before there was one. */
  time: 0,
  /** Whether a close has brought values that it does not know of. */
  due: false,
  /** How many rows meet the filter, whatever else leaves them out. */
  hits: 0,

  /** Take the order from the values of now. */
  take() {
    const size = market.symbols.length;
    const passing = [];
    this.hits = 0;
    for (let row = 0; row < size; row++) {
      if (market.passes && !market.passes[row]) continue;
      this.hits++;
      if (isListed(row)) passing.push(row);
    }
    this.rows = sorted(passing);
    this.time = market.time;
    this.due = false;
  },

  /** @returns {boolean} whether the rows are sorted by values that move between closes */
  get moves() {
    return columnOf(sort().key).live || market.bar?.forming === true;
  },

  /** @returns {boolean} whether it is time to sort again by such values */
  get restless() {
    return this.moves && Math.abs(market.time - this.time) >= AGAIN_AFTER * (market.hello?.rate ?? 1);
  },

  /** @returns {boolean} whether rows beside one another are the wrong way round by now */
  get wrong() {
    const compare = comparison();
    return this.rows.some((row, i) => i > 0 && compare(this.rows[i - 1], row) > 0);
  },
};

function sorted(rows) {
  return rows.sort(comparison());
}

/** Compare rows by the column chosen; what is not known comes last either way, ties stay as they are listed. */
function comparison() {
  const { key, descending } = sort();
  const column = columnOf(key);
  const turn = descending ? -1 : 1;
  if (column.kind === "symbol") {
    return (a, b) => turn * (column.value(a) < column.value(b) ? -1 : Number(column.value(a) > column.value(b)));
  }
  return (a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    const [lost, missing] = [Number.isNaN(x), Number.isNaN(y)];
    if (lost || missing) return Number(lost) - Number(missing) || a - b;
    return turn * (x - y) || a - b;
  };
}
