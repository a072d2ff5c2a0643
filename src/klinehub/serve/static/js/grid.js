/** The grid of the table: its columns side by side, those that are pinned before the others, under their heads. */

import * as chosen from "./chosen.js";
import { columnOf } from "./columns.js";
import { h } from "./dom.js";
import { makeHeader } from "./header.js";
import { t } from "./i18n.js";
import { makeRows } from "./rows.js";
import { state } from "./state.js";

/** How high the heads are, as the style sheet has it. */
export const HEAD = 30;
/** Few columns are not torn apart: what is left of the window stays empty. */
const STRETCH = 1.5;
/** Where the window is narrow: what says most stands side by side without moving the table. */
const NARROW = { symbol: 118, price: 94, change: 74, day: 74, score: 68 };
/** Pictures are as wide as they are drawn. */
const PICTURES = ["spark", "why"];

/** Pinned columns stand beside the symbol, each where the one before it ends. */
function arranged() {
  const keys = chosen.columns();
  const narrow = chosen.isNarrow();
  const pinned = ["symbol", ...(narrow ? [] : state.get("pin").filter((key) => keys.includes(key)))];
  let left = 0;
  return [...new Set([...pinned, ...keys])].map((key, i) => {
    const column = columnOf(key);
    if (narrow) column.width = NARROW[column.kind === "number" ? key : column.kind] ?? column.width;
    if (i >= pinned.length) return column;
    const fixed = { ...column, left, classes: i === pinned.length - 1 ? "pinned last" : "pinned" };
    left += column.width;
    return fixed;
  });
}

/** Make the grid, without columns and rows as yet. */
export function makeGrid() {
  const element = h("div.grid", { role: "grid", tabindex: "0", "aria-label": t("table.label") });
  const rows = makeRows(element);
  const header = makeHeader({ onwiden: (key, width) => lay(new Map([[key, width]])) });
  let shown = [];
  let before = "";
  element.append(header.element, rows.body);

  /** Give columns their room; *widths* are those that are just being changed. */
  function lay(widths) {
    const width = (column) => widths.get(column.key) ?? column.width;
    const isFixed = (column) => column.left !== undefined || PICTURES.includes(column.kind);
    const track = (column) => (isFixed(column) ? `${width(column)}px` : `minmax(${width(column)}px, ${Math.round(width(column) * STRETCH)}px)`);
    element.style.setProperty("--grid", shown.map(track).join(" "));
    element.style.setProperty("--width", `${shown.reduce((sum, column) => sum + width(column), 0)}px`);
  }

  return {
    element,
    rows,
    header,

    /** @returns {import("./columns.js").Column[]} the columns in the order in which they are seen */
    get columns() {
      return shown;
    },

    /** Show the columns that are chosen now; where they look as before nothing is made anew. */
    setColumns() {
      const next = arranged();
      const now = JSON.stringify([chosen.isNarrow(), next]);
      if (now === before) return;
      before = now;
      shown = next;
      element.setAttribute("aria-colcount", String(shown.length));
      header.setColumns(shown);
      rows.setColumns(shown);
      lay(new Map());
    },

    /** Show these rows of the market. @param {number[]} next */
    setRows(next) {
      rows.setRows(next);
      element.setAttribute("aria-rowcount", String(next.length + 1));
    },
  };
}
