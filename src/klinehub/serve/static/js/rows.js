/**
 * The rows of the table: as many elements as fit on the screen show however many rows there are.
 *
 * 1. The row at place p is always shown by the element p modulo their number, so that moving by one row writes one.
 * 2. Positions are transforms, widths one variable for all: nothing is measured while it is written.
 */

import { h } from "./dom.js";
import { isNarrow } from "./chosen.js";
import { makeCell, staleText } from "./cells.js";
import { market } from "./market.js";

/** As the style sheet has it: fingers need more room. */
const [HIGH, HIGHER] = [28, 36];
const SPARE = 3;

/**
 * Make the part of the grid that has the rows.
 * @param {HTMLElement} scroller what is moved over them
 */
export function makeRows(scroller) {
  const body = h("div.rows", { role: "rowgroup" });
  /** @type {import("./columns.js").Column[]} */
  let columns = [];
  let slots = [];
  let rows = [];
  let top = 0;
  let height = 600;
  let chosen = "";
  let row = HIGH;

  function build() {
    row = isNarrow() ? HIGHER : HIGH;
    body.style.height = `${rows.length * row}px`;
    const count = Math.ceil(height / row) + 2 * SPARE;
    slots = Array.from({ length: count }, (_, i) => makeSlot(i));
    body.replaceChildren(...slots.map((slot) => slot.element));
  }

  function makeSlot(number) {
    const cells = columns.map((column) => makeCell(column, column.classes ?? ""));
    cells.forEach((cell, i) => {
      cell.element.setAttribute("aria-colindex", String(i + 1));
      if (columns[i].left !== undefined) cell.element.style.left = `${columns[i].left}px`;
    });
    const element = h("div.row", { role: "row", id: `row-${number}`, hidden: true }, cells.map((cell) => cell.element));
    return { element, cells, place: -1, row: -1, look: "" };
  }

  function place(slot, at) {
    slot.place = at;
    slot.element.style.top = `${at * row}px`;
    slot.element.setAttribute("aria-rowindex", String(at + 2));
  }

  function dress(slot) {
    const symbol = market.symbols[slot.row].symbol;
    const stale = market.stale.get(slot.row);
    const look = `row${stale ? " stale" : ""}${symbol === chosen ? " chosen" : ""}`;
    const title = stale ? staleText(stale) : "";
    if (look + title === slot.look) return;
    slot.look = look + title;
    slot.element.className = look;
    slot.element.title = title;
    slot.element.setAttribute("aria-selected", String(symbol === chosen));
  }

  function show(slot, live) {
    for (let i = 0; i < slot.cells.length; i++) if (!live || columns[i].live) slot.cells[i].show(slot.row);
  }

  function hide(slot) {
    if (slot.row < 0) return;
    slot.element.hidden = true;
    slot.row = slot.place = -1;
  }

  return {
    body,

    /** Show other columns. @param {(import("./columns.js").Column & {left?: number, classes?: string})[]} next */
    setColumns(next) {
      columns = next;
      build();
    },

    /** Show these rows of the market. @param {number[]} next */
    setRows(next) {
      rows = next;
      body.style.height = `${rows.length * row}px`;
    },

    /** Fit as many rows as the window is high. @param {number} next in pixels */
    setHeight(next) {
      if (Math.ceil(next / row) === Math.ceil(height / row)) return;
      height = next;
      build();
    },

    /** Mark a symbol as the chosen one, nothing for none. @param {string} symbol */
    choose(symbol) {
      chosen = symbol;
    },

    /**
     * Write what is to be seen.
     * @param {"all"|"live"|"place"} what everything, only what moves between closes, or only rows that came into sight
     */
    draw(what) {
      const first = Math.max(0, Math.floor(top / row) - SPARE);
      for (let at = first; at < first + slots.length; at++) {
        const slot = slots[at % slots.length];
        if (at >= rows.length) {
          hide(slot);
          continue;
        }
        const same = slot.row === rows[at] && slot.place === at;
        if (same && what === "place") continue;
        if (slot.place !== at) place(slot, at);
        slot.row = rows[at];
        if (!same || what === "all") dress(slot);
        show(slot, same && what === "live");
        slot.element.hidden = false;
      }
    },

    /** Take note of where the window is; it is not measured while rows are written. */
    look() {
      top = scroller.scrollTop;
    },

    /** @returns {HTMLElement|undefined} what shows a row now @param {number} row */
    elementOf(row) {
      return slots.find((slot) => slot.row === row)?.element;
    },

    /** @returns {number} the row of the market that an element belongs to, -1 for none @param {Element} element */
    rowOf(element) {
      const found = element.closest(".row");
      return slots.find((slot) => slot.element === found)?.row ?? -1;
    },

    /** @returns {number} the first place that is wholly in sight */
    get first() {
      return Math.ceil(top / row);
    },

    /** @returns {number} how high a row is, in pixels */
    get height() {
      return row;
    },

    /** Bring a place of the table into sight. @param {number} at @param {number} head height of what covers the top */
    reveal(at, head) {
      const [from, to] = [at * row, at * row + row];
      const room = scroller.clientHeight - head;
      const next = from < top ? from : Math.max(top, to - room);
      if (next !== top) scroller.scrollTop = top = next;
      this.draw("place");
    },
  };
}
