/** The words of the map: its choices, what is said of a tile, and the same market as a list. */

import { staleText } from "./cells.js";
import { columnOf } from "./columns.js";
import { fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { kinds } from "./lists.js";
import { market } from "./market.js";
import { pageLink, textButton, tone, toned } from "./pieces.js";
import { state } from "./state.js";

state.define("list", "flag", false);

/** The turnover's square root: a few symbols have most of the turnover, and the others are to be seen too. */
export const EVENED = "evened";
const SIZES = [EVENED, "turnover24h", "equal", "day", "score"];
const COLOURS = ["day", "change", "score"];
const GROUPS = ["", "type", "kind", "quote", "side"];

/**
 * Give the column of the colours. What 24 hours were is not told of a past moment: there it is the bar.
 * @returns {import("./columns.js").Column}
 */
export function colourColumn() {
  const key = state.get("colour");
  return columnOf(key === "day" && market.bar?.past ? "change" : key);
}

/**
 * Make the choices of the map.
 * @param {string[]} own the columns of the table that are expressions
 * @returns {HTMLElement[]}
 */
export function controls(own) {
  const title = (key) => (key === "equal" || key === EVENED ? t(`map.size.${key}`) : columnOf(key).title);
  const group = (key) => t(key ? `kinds.${key}` : "map.group.none");
  // A grouping that puts all in one place is no choice.
  const counts = kinds();
  const groups = GROUPS.filter((key) => !key || key === state.get("group") || counts.get(key).size > 1);
  return [
    choice("size", t("map.size"), [...SIZES, ...own], title),
    choice("colour", t("map.colour"), [...COLOURS, ...own], title),
    groups.length > 1 && choice("group", t("map.group"), groups, group),
    textButton("map.list", () => state.set({ list: !state.get("list") }), { "aria-pressed": String(state.get("list")) }),
    h("div.grow"),
  ];
}

function choice(name, label, keys, title) {
  const now = name === "colour" ? colourColumn().key : state.get(name);
  return h("label.map-choice", {}, h("span.muted", {}, label),
    h("select.field", { onchange: (event) => state.set({ [name]: event.target.value }) },
      keys.map((key) => h("option", { value: key, selected: key === now }, title(key)))));
}

/**
 * Say what is known of a row.
 * @param {number} row
 * @param {import("./columns.js").Column[]} columns
 * @returns {{body: any[], said: string}}
 */
export function tipOf(row, columns) {
  const listed = market.symbols[row];
  const rows = columns.map((column) => [column.title, column.write(column.value(row), row), column.toned ? column.value(row) : 0]);
  const stale = market.stale.get(row);
  return {
    body: [
      h("b", {}, listed.symbol),
      h("dl", {}, rows.map(([title, text, value]) => h("div", {}, h("dt", {}, title), h("dd", {}, toned(value, text))))),
      stale && h("p.warn", {}, staleText(stale)),
    ],
    said: [listed.symbol, ...rows.map(([title, text]) => `${title} ${text}`), stale && staleText(stale)].filter(Boolean).join(", "),
  };
}

/**
 * Make the same market as a list of links. Its order is taken when tiles are placed; in between only values change,
 * so that whoever stands on a link stays there.
 */
export function makeList() {
  const element = h("ol.map-list");
  let cells = [];

  return {
    element,

    /**
     * Take the order, the highest value first.
     * @param {number[]} rows
     * @param {import("./columns.js").Column} column
     */
    place(rows, column) {
      const known = (row) => (Number.isNaN(column.value(row)) ? -Infinity : column.value(row));
      const sorted = rows.slice().sort((a, b) => known(b) - known(a));
      const focused = document.activeElement?.dataset.symbol;
      cells = sorted.map((row) => ({ row, value: h("span") }));
      fill(element, cells.map(({ row, value }) => {
        const { symbol } = market.symbols[row];
        return h("li", {}, pageLink("a", { view: "symbol", symbol }, { props: { data: { symbol } } }, symbol), value);
      }));
      if (focused) element.querySelector(`[data-symbol="${CSS.escape(focused)}"]`)?.focus();
      this.write(column);
    },

    /** @param {import("./columns.js").Column} column */
    write(column) {
      for (const { row, value } of cells) {
        const now = column.value(row);
        value.textContent = column.write(now, row);
        value.className = column.toned ? tone(now) : "";
      }
    },
  };
}
