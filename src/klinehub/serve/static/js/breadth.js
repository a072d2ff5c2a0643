/** The market in a line: how many rise and fall, by how much in the middle, and how far apart they are. */

import { fill, h } from "./dom.js";
import { nextFrame } from "./frame.js";
import { formatNumber, onLanguage, t } from "./i18n.js";
import { market } from "./market.js";

/** What is written as 0.00 % counts as unchanged. */
const FLAT = 0.005;
const EVERY = 1_000;

/**
 * Describe changes.
 * @param {Float64Array} changes in percent, NaN for what is not known
 * @param {(row: number) => boolean} counts which rows are counted
 * @returns {{up: number, down: number, flat: number, median: number, spread: number}} `spread` is the standard
 *   deviation over the symbols
 */
export function breadth(changes, counts) {
  const known = [];
  let [up, down, sum, squares] = [0, 0, 0, 0];
  for (let row = 0; row < changes.length; row++) {
    const change = changes[row];
    if (Number.isNaN(change) || !counts(row)) continue;
    known.push(change);
    if (change >= FLAT) up++;
    else if (change <= -FLAT) down++;
    sum += change;
    squares += change * change;
  }
  const size = known.length;
  if (!size) return { up, down, flat: 0, median: NaN, spread: NaN };
  known.sort((a, b) => a - b);
  const median = size % 2 ? known[size >> 1] : (known[size / 2 - 1] + known[size / 2]) / 2;
  const mean = sum / size;
  return { up, down, flat: size - up - down, median, spread: Math.sqrt(Math.max(0, squares / size - mean * mean)) };
}

function makeGauge() {
  const parts = { up: h("i.up"), flat: h("i.flat"), down: h("i.down") };
  const bar = h("span.gauge", { "aria-hidden": "true" }, parts.up, parts.flat, parts.down);
  const label = h("span.muted");
  const up = h("span.up");
  const flat = h("span.muted");
  const down = h("span.down");
  const median = h("b");
  const spread = h("b");
  const words = [h("span.muted"), h("span.muted")];
  const element = h("div.breadth", { role: "group" }, label, bar,
    h("span.numbers", {}, up, flat, down), h("span.pair", {}, words[0], median), h("span.pair.spread", {}, words[1], spread));
  const write = (node, text) => node.textContent !== text && (node.textContent = text);
  return {
    element,
    show(name, found) {
      const all = found.up + found.flat + found.down || 1;
      write(label, name);
      for (const [key, node] of [["up", up], ["flat", flat], ["down", down]]) {
        parts[key].style.flexGrow = String(found[key] / all);
        write(node, `${{ up: "▲", flat: "–", down: "▼" }[key]} ${formatNumber(found[key], "whole")}`);
        node.title = t(`breadth.${key}`);
      }
      write(words[0], t("breadth.median"));
      write(words[1], t("breadth.spread"));
      write(median, formatNumber(found.median, "percent"));
      median.className = found.median > 0 ? "up" : found.median < 0 ? "down" : "";
      write(spread, Number.isNaN(found.spread) ? "–" : `${found.spread.toFixed(2)}%`);
      element.setAttribute("aria-label", t("breadth.said", { name, up: found.up, down: found.down, flat: found.flat }));
    },
  };
}

/**
 * Keep the line up to date, at most once a second.
 * @param {HTMLElement} place
 */
export function mountBreadth(place) {
  const [day, bar] = [makeGauge(), makeGauge()];
  place.setAttribute("role", "region");
  fill(place, day.element, bar.element);
  let drawn = -EVERY;
  const counts = (row) => market.symbols[row].status === "TRADING";
  const draw = () => {
    drawn = performance.now();
    place.setAttribute("aria-label", t("breadth.label"));
    place.hidden = !market.bar;
    if (!market.bar) return;
    day.show(t("breadth.day"), breadth(market.day, counts));
    bar.show(t("breadth.bar", { frame: market.bar.timeframe }), breadth(market.change, counts));
  };
  const soon = () => performance.now() - drawn >= EVERY && nextFrame(draw);
  market.subscribe("prices", soon);
  market.subscribe("health", soon);
  market.subscribe("table", () => nextFrame(draw));
  onLanguage(draw);
  draw();
}
