/** The wall: the first symbols of the table as small charts, side by side. */

import { carried, lengthOf, newestBars } from "./bars.js";
import { marksOf } from "./cells.js";
import { sort } from "./chosen.js";
import { columnOf } from "./columns.js";
import { fill, h } from "./dom.js";
import { nextFrame } from "./frame.js";
import { formatNumber, formatPrice, t } from "./i18n.js";
import { live } from "./live.js";
import { market } from "./market.js";
import { blank } from "./notice.js";
import { order } from "./order.js";
import { personal } from "./personal.js";
import { pageLink, tone } from "./pieces.js";
import { timeframe } from "./shell.js";
import { drawCandles } from "./small_candles.js";
import { state } from "./state.js";
import { onColours } from "./theme.js";

const MOST = 12;
const BARS = 72;
const TAIL = 3;
const MOST_BADGES = 2;

/**
 * @param {HTMLElement} container
 * @returns {import("./views.js").View}
 */
export function mount(container) {
  const wall = new Wall(container);
  return { update: (names) => wall.update(names), unmount: () => wall.close() };
}

class Wall {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  #stop = new AbortController();

  constructor(container) {
    this.place = h("div.wall", { role: "group", "aria-label": t("wall.label") });
    this.empty = h("div.map-empty");
    fill(container, h("h1.aloud", {}, t("wall.label")), this.place, this.empty);
    const draw = () => nextFrame(this.#draw);
    this.ends = [
      market.subscribe("table", () => this.#closed()),
      market.subscribe("failed", () => this.#choose()),
      market.subscribe("prices", draw),
      live.on("status", () => this.#choose()),
      market.subscribe("stale", draw),
      personal.subscribe(() => this.#choose()),
      onColours(draw),
    ];
    this.sized = new ResizeObserver(draw);
    this.sized.observe(this.place);
    this.#choose();
  }

  update(names) {
    if (names.has("tf") || names.has("at")) this.#begin();
    this.#choose();
  }

  close() {
    this.#stop.abort();
    this.sized.disconnect();
    for (const end of this.ends) end();
    market.want("wall", []);
  }

  /** Another timeframe or another moment: nothing that was loaded is of use. */
  #begin() {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#tiles = new Map();
  }

  #closed() {
    for (const tile of this.#tiles.values()) this.#load(tile, TAIL);
    this.#choose();
  }

  /** Show who comes first now; who stays keeps the chart. */
  #choose() {
    const { expression } = columnOf(sort().key);
    market.want("wall", expression ? [expression] : []);
    order.take();
    fill(this.empty, blank(order));
    const symbols = order.rows.slice(0, MOST).map((row) => market.symbols[row].symbol);
    const before = this.#tiles;
    this.#tiles = new Map(symbols.map((symbol) => [symbol, before.get(symbol) ?? this.#make(symbol)]));
    const focused = document.activeElement;
    fill(this.place, [...this.#tiles.values()].map((tile) => tile.element));
    if (this.place.contains(focused)) focused.focus();
    nextFrame(this.#draw);
  }

  #make(symbol) {
    const tile = new Tile(symbol);
    this.#load(tile, BARS);
    return tile;
  }

  async #load(tile, limit) {
    const { signal } = this.#stop;
    try {
      const told = await newestBars({ symbol: tile.symbol, timeframe: timeframe(), at: state.get("at"), signal }, limit);
      tile.take(told.bars, limit === BARS);
    } catch (error) {
      if (error.name !== "AbortError") tile.fail(error.message);
    }
    nextFrame(this.#draw);
  }

  #draw = () => {
    for (const tile of this.#tiles.values()) tile.draw();
  };
}

/** One small chart. */
class Tile {
  #bars = [];
  #failure = "";

  constructor(symbol) {
    this.symbol = symbol;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.price = h("span.wall-price");
    this.day = h("span");
    this.score = h("span.wall-score");
    this.badges = h("span.badges");
    this.element = pageLink("a.wall-tile", { view: "symbol", symbol }, {},
      h("span.wall-head", {}, h("b", {}, symbol), this.badges, h("span.grow"), this.price, this.day), this.canvas,
      h("span.wall-foot", {}, h("span.muted", {}, timeframe()), h("span.grow"), this.score));
  }

  take(bars, whole) {
    this.#failure = "";
    const from = bars[0]?.open_time ?? Infinity;
    this.#bars = whole ? bars : [...this.#bars.filter((bar) => bar.open_time < from), ...bars].slice(-BARS);
  }

  fail(message) {
    this.#failure = message;
  }

  draw() {
    const row = market.rows.get(this.symbol);
    if (row === undefined) return;
    const price = market.price[row];
    if (!state.get("at")) this.#carry(price);
    const decimals = market.symbols[row].price_decimals;
    write(this.price, formatPrice(price, decimals), "wall-price");
    const day = state.get("at") ? market.barChange[row] : market.day[row];
    write(this.day, formatNumber(day, "percent"), tone(day));
    const score = market.score[row];
    write(this.score, `${t("symbol.figure.score")} ${formatNumber(score, "signed")}`, `wall-score ${tone(score)}`);
    const marks = marksOf(row).slice(0, MOST_BADGES);
    fill(this.badges, marks.map(({ kind, text, title }) => h(`span.badge.${kind}`, { title }, text || "!")));
    drawCandles(this.canvas, this.#bars, this.#failure);
  }

  #carry(price) {
    const last = this.#bars.at(-1);
    const bar = carried(last, price, market.time, lengthOf(timeframe()));
    if (!bar) return;
    this.#bars = bar.open_time === last.open_time ? [...this.#bars.slice(0, -1), bar] : [...this.#bars, bar].slice(-BARS);
  }
}

function write(element, text, classes) {
  if (element.textContent !== text) element.textContent = text;
  if (element.className !== classes) element.className = classes;
}
