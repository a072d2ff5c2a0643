/** What can be done with a symbol of the table: watch, hide, copy its names, go to the exchange. */

import { h, icon, popover, tell } from "./dom.js";
import { t } from "./i18n.js";
import { toggleHidden, toggleWatch } from "./lists.js";
import { market } from "./market.js";
import { personal } from "./personal.js";
import { state } from "./state.js";

/** Where an exchange shows an instrument; a link that the reader may follow, nothing is asked of it. */
const PAGES = {
  "binance-usdm": (one) => `https://www.binance.com/en/futures/${encodeURIComponent(one.symbol)}`,
  "binance-spot": (one) => `https://www.binance.com/en/trade/${encodeURIComponent(`${one.base}_${one.quote}`)}?type=spot`,
};

/**
 * Give the page of an instrument at its exchange.
 * @param {{symbol: string, base: string, quote: string}} one
 * @returns {string|null} null for an exchange whose pages are not known
 */
export function exchangePage(one) {
  return PAGES[market.hello?.exchange]?.(one) ?? null;
}

/**
 * Put a text where the reader can paste it from.
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(t("copied", { text }));
  } catch {
    // Plain http on another machine has no clipboard: it can be taken from here by hand.
    prompt(t("copy.hand"), text);
  }
}

/** @param {string} symbol */
export function toggleRowWatch(symbol) {
  tell(t(toggleWatch(symbol) ? "row.watched" : "row.unwatched", { symbol }));
}

/** @param {string} symbol */
export function toggleRowHidden(symbol) {
  tell(t(toggleHidden(symbol) ? "row.hidden" : "row.shown", { symbol }));
}

/**
 * Open the menu of a row.
 * @param {Element} anchor
 * @param {number} row
 */
export function openRowMenu(anchor, row) {
  const one = market.symbols[row];
  const { symbol } = one;
  const watched = personal.get("watch", []).includes(symbol);
  const hidden = personal.get("hidden", []).includes(symbol);
  const act = (drawn, label, work) =>
    h("button.button", { type: "button", role: "menuitem", onclick: () => (menu.close(true), work()) }, icon(drawn), label);
  const page = exchangePage(one);
  const menu = popover(anchor, h("div.menu", { role: "menu", "aria-label": symbol },
    act("right", t("row.open"), () => state.set({ view: "symbol", symbol }, { push: true })),
    act("star", t(watched ? "row.unwatch" : "row.watch", { symbol }), () => toggleRowWatch(symbol)),
    act("hide", t(hidden ? "row.show" : "row.hide", { symbol }), () => toggleRowHidden(symbol)),
    h("hr"),
    act("copy", t("row.copy", { text: symbol }), () => copy(symbol)),
    one.pair !== symbol && act("copy", t("row.copy", { text: one.pair }), () => copy(one.pair)),
    page && h("a.button", { role: "menuitem", href: page, target: "_blank", rel: "noopener noreferrer" }, icon("link"), t("row.exchange", { exchange: market.hello.exchange }))),
  { role: "presentation" });
}
