/** Why a symbol scores as it does: the points of each part, the largest first, summing to the score. */

import { fill, h, popover } from "./dom.js";
import { formatNumber, t, tOr } from "./i18n.js";
import { sideOf } from "./columns.js";
import { likeness } from "./likeness.js";
import { market } from "./market.js";

/** A pointer that only passes opens nothing. */
const LINGER = 220;

/**
 * Give the parts of a row's score, the largest first.
 * @param {number} row
 * @returns {{name: string, points: number, weight: number}[]}
 */
export function partsOf(row) {
  const weights = new Map((market.hello?.parts ?? []).map((part) => [part.name, part.weight]));
  return Object.entries(market.parts)
    .map(([name, points]) => ({ name, points: points[row], weight: weights.get(name) ?? 0 }))
    .filter((part) => !Number.isNaN(part.points))
    .sort((a, b) => Math.abs(b.points) - Math.abs(a.points));
}

/**
 * Say what a part of the score is called.
 * @param {string} name
 * @returns {string}
 */
export function partName(name) {
  return tOr(`part.${name}`, market.hello?.parts.find((part) => part.name === name)?.text ?? name);
}

/**
 * Write a score and what it is made of.
 * @param {number} row
 * @returns {HTMLElement}
 */
export function breakdown(row) {
  const score = market.score[row];
  const one = market.symbols[row];
  if (Number.isNaN(score)) {
    const reason = market.missing.has(row) ? "badge.missing.title" : market.warming.has(row) ? "badge.warming.title" : "why.none";
    return h("div.why", {}, h("header", {}, h("b", {}, one.symbol)), h("p.muted", {}, t(reason)));
  }
  const parts = partsOf(row);
  const most = Math.max(1, ...parts.map((part) => Math.abs(part.points)));
  const side = sideOf(score);
  const bar = (part) => {
    const fill = h(`i.${part.points < 0 ? "down" : "up"}`);
    fill.style.transform = `scaleX(${(part.points / most).toFixed(3)})`;
    return h("span.track", { "aria-hidden": "true" }, fill);
  };
  const line = (part) => h("tr", {}, h("th", { scope: "row" }, partName(part.name)), h("td", {}, bar(part)),
    h("td.number", { class: part.points < 0 ? "down" : part.points > 0 ? "up" : "" }, formatNumber(part.points, "signed")), h("td.number.muted", {}, t("why.of", { weight: formatNumber(Math.abs(part.weight), "plain") })));
  return h("div.why", {},
    h("header", {}, h("b", {}, one.symbol), h("span.muted", {}, market.bar?.timeframe ?? ""), h("span.grow"),
      h(`b.${side === "flat" ? "muted" : score < 0 ? "down" : "up"}`, {}, formatNumber(score, "signed")), h("span.muted", {}, t(`side.${side}`))),
    h("table", {}, h("tbody", {}, parts.map(line)),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, t("why.sum")), h("td"), h("td.number", {}, formatNumber(parts.reduce((sum, part) => sum + part.points, 0), "signed")), h("td")))),
    likeness(score),
    h("p.muted", {}, t("why.note")));
}

/**
 * Open the reasons on lingering over a score, and keep them open on a click or a key.
 * @param {HTMLElement} grid
 * @param {{rowOf: (element: Element) => number}} rows
 */
export function makeWhy(grid, rows) {
  let timer = 0;
  let shown = null;

  function open(cell, row, focus = true) {
    clearTimeout(timer);
    const body = h("div", {}, breakdown(row));
    const panel = popover(cell, body, { label: t("why.title", { symbol: market.symbols[row].symbol }), class: focus ? "why-panel" : "why-panel passing", focus, onclose: () => (shown = null) });
    shown = { panel, body, row, passing: !focus };
  }

  function over(event) {
    const cell = event.pointerType === "mouse" && event.target.closest?.("[data-why]");
    if (!cell || (shown && !shown.passing)) return;
    clearTimeout(timer);
    timer = setTimeout(() => rows.rowOf(cell) >= 0 && open(cell, rows.rowOf(cell), false), LINGER);
  }

  function out(event) {
    const cell = event.target.closest?.("[data-why]");
    if (!cell || cell.contains(event.relatedTarget)) return;
    clearTimeout(timer);
    if (shown?.passing) shown.panel.close(false);
  }

  grid.addEventListener("pointerover", over);
  grid.addEventListener("pointerout", out);
  grid.addEventListener("scroll", () => shown?.passing && shown.panel.close(false), { passive: true });

  return {
    open,

    /** Write what is open anew. */
    refresh() {
      if (shown) fill(shown.body, breakdown(shown.row));
    },

    close() {
      clearTimeout(timer);
      shown?.panel.close(false);
    },
  };
}
