/** The chosen row: keys lead it through the table, and say what is done with its symbol. */

import { closePopover } from "./dom.js";
import { HEAD } from "./grid.js";
import { bind } from "./keys.js";
import { market } from "./market.js";
import { order } from "./order.js";
import { openRowMenu, toggleRowHidden, toggleRowWatch } from "./rowmenu.js";
import { state } from "./state.js";

const GROUP = "keys.table";
/** The chosen symbol, found again when the reader comes back to the table. */
let chosen = "";

/**
 * Make the mark of the chosen row.
 * @param {ReturnType<typeof import("./grid.js").makeGrid>} grid
 * @param {{why: ReturnType<typeof import("./why.js").makeWhy>, onchoose: () => void}} options
 */
export function makeCursor(grid, { why, onchoose }) {
  const { element, rows } = grid;
  rows.choose(chosen);

  function row() {
    return market.rows.get(chosen) ?? -1;
  }

  function choose(symbol) {
    chosen = symbol;
    rows.choose(symbol);
    onchoose();
    reveal();
  }

  function reveal() {
    const at = order.rows.indexOf(row());
    if (at < 0) return element.removeAttribute("aria-activedescendant");
    rows.reveal(at, HEAD);
    element.setAttribute("aria-activedescendant", rows.elementOf(order.rows[at])?.id ?? "");
  }

  /** Go so many rows on; from nowhere to the first row in sight. */
  function step(by) {
    if (!order.rows.length) return;
    const at = order.rows.indexOf(row());
    const next = at < 0 && Number.isFinite(by) ? rows.first : Math.max(0, Math.min(order.rows.length - 1, at + by));
    choose(market.symbols[order.rows[next]].symbol);
  }

  function open(symbol) {
    chosen = symbol;
    state.set({ view: "symbol", symbol }, { push: true });
  }

  function hide() {
    const symbol = chosen;
    step(1);
    toggleRowHidden(symbol);
  }

  function part(selector) {
    return rows.elementOf(row())?.querySelector(selector);
  }

  const page = () => Math.max(1, Math.floor((element.clientHeight - HEAD) / rows.height) - 1);
  const some = (label, act) => ({ label, group: GROUP, act: () => chosen && act() });

  return {
    open,

    /** @returns {boolean} whether a row is chosen, so that it has to stay in sight */
    get isSet() {
      return chosen !== "";
    },

    ends: [
      bind("j", { label: "keys.down", group: GROUP, act: () => step(1) }),
      bind("ArrowDown", { label: "keys.down", group: GROUP, act: () => step(1) }),
      bind("k", { label: "keys.up", group: GROUP, act: () => step(-1) }),
      bind("ArrowUp", { label: "keys.up", group: GROUP, act: () => step(-1) }),
      bind("PageDown", { act: () => step(page()) }),
      bind("PageUp", { act: () => step(-page()) }),
      bind("Home", { act: () => step(-Infinity) }),
      bind("End", { act: () => step(Infinity) }),
      bind("Enter", some("keys.open", () => open(chosen))),
      bind("w", some("keys.watch", () => toggleRowWatch(chosen))),
      bind("x", some("keys.hide", hide)),
      bind("i", some("keys.why", () => part("[data-why]") && why.open(part("[data-why]"), row()))),
      bind("c", some("keys.copy", () => part(".more") && openRowMenu(part(".more"), row()))),
      bind("Escape", { label: "keys.leave", group: GROUP, act: () => (closePopover(), chosen && choose("")) }),
    ],
  };
}
