/**
 * Cells: each kind is made once and then shows one row after another.
 *
 * A cell writes to the page only what has changed. A live value that changes while its row stays is lit for a
 * moment, all of one batch until the same moment: an animation of each was most of what an update took.
 */

import { h, icon } from "./dom.js";
import { formatSpan, formatTime, t, tOr } from "./i18n.js";
import { sideOf, standing } from "./columns.js";
import { market } from "./market.js";
import { personal } from "./personal.js";
import { canvas, drawParts, drawSpark } from "./spark.js";
import { state } from "./state.js";

/**
 * @typedef {object} Cell
 * @property {HTMLElement} element
 * @property {(row: number) => void} show shows a row, of which anything may have changed
 */

const MAKERS = { symbol: symbolCell, number: numberCell, score: scoreCell, spark: sparkCell, why: whyCell };
let flashes = personal.get("flash", true);
personal.subscribe(() => (flashes = personal.get("flash", true)));

const LIT_FOR = 350;
/** @type {{element: HTMLElement, plain: string}[]} what is lit now, and its classes without */
let lit = [];
let putOut = 0;

function light(cell, look) {
  lit.push({ element: cell, plain: look });
  putOut ||= setTimeout(() => {
    putOut = 0;
    for (const { element, plain } of lit) if (element.className.startsWith(`${plain} lit-`)) element.className = plain;
    lit = [];
  }, LIT_FOR);
}

/** Each grows when pictures of its kind have to be drawn anew though their row is the same. */
const drawings = { spark: 0, why: 0 };

/**
 * Let pictures be drawn anew when they are shown next.
 * @param {...("spark"|"why")} kinds
 */
export function redraw(...kinds) {
  for (const kind of kinds) drawings[kind]++;
}

/**
 * Make a cell of a column.
 * @param {import("./columns.js").Column} column
 * @param {string} classes
 * @returns {Cell}
 */
export function makeCell(column, classes) {
  return MAKERS[column.kind](column, classes);
}

/** The colour of a value as it is written: what is rounded to zero has none. */
function tone(written) {
  if (written.startsWith("+")) return " up";
  return written.startsWith("-") ? " down" : "";
}

function numberCell(column, classes) {
  const text = document.createTextNode("");
  const base = `cell number ${classes}`;
  const element = h("div", { role: "gridcell", class: base }, text);
  let row = -1;
  let value = NaN;
  let shown = "";
  return {
    element,
    show(next) {
      const now = column.value(next);
      if (next === row && (now === value || (Number.isNaN(now) && Number.isNaN(value)))) return;
      const written = column.write(now, next);
      const flash = flashes && column.flashes && next === row && written !== shown && !Number.isNaN(value);
      const plain = base + (column.toned ? tone(written) : "") + (written === "–" ? " unknown" : "");
      const wanted = flash ? `${plain} lit-${now > value ? "up" : "down"}` : plain;
      if (element.className !== wanted) element.className = wanted;
      if (flash) light(element, plain);
      if (written !== shown) text.data = shown = written;
      row = next;
      value = now;
    },
  };
}

function scoreCell(column, classes) {
  const number = numberCell(column, "");
  const bar = h("i.bar");
  const element = h("div", { role: "gridcell", class: `cell score ${classes}`, data: { why: "" } },
    h("span.track", { "aria-hidden": "true" }, bar), h("span.points", {}, number.element.firstChild));
  let before = "";
  return {
    element,
    show(row) {
      number.show(row);
      const value = column.value(row);
      const wanted = `scaleX(${Number.isNaN(value) ? 0 : (value / 100).toFixed(3)})`;
      if (wanted === before) return;
      before = wanted;
      bar.style.transform = wanted;
      element.className = `cell score ${classes}${tone(column.write(value, row))}${Number.isNaN(value) ? " unknown" : ""}`;
    },
  };
}

function pictureCell(column, classes, draw, label) {
  const picture = canvas(column.width - 16);
  const text = document.createTextNode("");
  const said = h("span.aloud", {}, text);
  const element = h("div", { role: "gridcell", class: `cell picture ${classes}` }, picture, said);
  let row = -1;
  let drawn = -1;
  return {
    element,
    show(next) {
      if (next === row && drawn === drawings[column.kind]) return;
      row = next;
      drawn = drawings[column.kind];
      const now = label(draw(picture, next), next);
      if (now !== text.data) text.data = now;
    },
  };
}

function sparkCell(column, classes) {
  return pictureCell(column, classes, drawSpark, (way) => t(way ? `spark.${way}` : "spark.unknown"));
}

function whyCell(column, classes) {
  const cell = pictureCell(column, classes, drawParts, (_, row) => tOr(`side.${sideOf(market.score[row])}`, ""));
  cell.element.dataset.why = "";
  return cell;
}

function symbolCell(column, classes) {
  const star = h("button.star", { type: "button", tabindex: "-1", data: { act: "watch" } }, icon("star"));
  const base = h("b");
  const quote = h("span.quote");
  const name = h("a.name", { tabindex: "-1", data: { act: "open" } }, base, quote);
  const badges = h("span.badges");
  const more = h("button.more", { type: "button", tabindex: "-1", data: { act: "more" }, "aria-haspopup": "menu" }, icon("more"));
  const element = h("div", { role: "rowheader", class: `cell symbol ${classes}` }, star, name, badges, more);
  let before = "";
  return {
    element,
    show(row) {
      const one = market.symbols[row];
      const watched = personal.get("watch", []).includes(one.symbol);
      const marks = marksOf(row);
      const now = `${one.symbol}|${watched}|${marks.map((mark) => mark.text + mark.title).join("|")}`;
      if (now === before) return;
      before = now;
      base.textContent = one.base || one.symbol;
      quote.textContent = one.base && one.symbol.startsWith(one.base) ? one.symbol.slice(one.base.length) : "";
      name.href = state.href({ view: "symbol", symbol: one.symbol });
      name.title = one.symbol;
      star.setAttribute("aria-pressed", String(watched));
      star.setAttribute("aria-label", t(watched ? "row.unwatch" : "row.watch", { symbol: one.symbol }));
      more.setAttribute("aria-label", t("row.more", { symbol: one.symbol }));
      badges.replaceChildren(...marks.map((mark) => badge(mark)));
    },
  };
}

function badge({ kind, text, title, drawn }) {
  return h(`span.badge.${kind}`, { title }, drawn ? icon(drawn) : h("span", { "aria-hidden": "true" }, text), h("span.aloud", {}, title));
}

/**
 * Give what is to be said of a symbol: stale, halted, ending, new, and why it has no values.
 * @param {number} row
 * @returns {{kind: string, text: string, title: string, drawn?: string}[]} one without a text has an icon
 */
export function marksOf(row) {
  const marks = [];
  const stale = market.stale.get(row);
  const { isNew, ends, halted } = standing(row);
  if (stale) marks.push({ kind: "old", drawn: "alert", text: "", title: staleText(stale) });
  if (halted) marks.push({ kind: "halted", text: t("badge.halted"), title: t("badge.halted.title", { status: halted }) });
  if (ends) marks.push({ kind: "ending", text: t("badge.ending"), title: endText(ends) });
  if (isNew) marks.push({ kind: "new", text: t("badge.new"), title: t("badge.new.title", { time: formatTime(market.symbols[row].onboard_time, "full") }) });
  if (market.missing.has(row)) marks.push({ kind: "old", text: t("badge.missing"), title: t("badge.missing.title") });
  else if (market.warming.has(row)) marks.push({ kind: "quiet", text: t("badge.warming"), title: t("badge.warming.title") });
  return marks;
}

function endText(ends) {
  const left = ends - market.time;
  const time = formatTime(ends, "full");
  if (left <= 0) return t("badge.ended.title", { time });
  // Minutes would change the badge all day long for nothing.
  return t("badge.ending.title", { time, span: formatSpan(Math.ceil(left / 3_600_000) * 3_600_000) });
}

/**
 * Say why a symbol is stale, and since when.
 * @param {{reason: string, since: number}} stale
 * @returns {string}
 */
export function staleText({ reason, since }) {
  return t("stale.since", { reason: tOr(`stale.${reason}`, reason), time: formatTime(since, "exact") });
}
