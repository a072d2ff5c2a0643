/**
 * The market as a map: a tile for each symbol that the table would show, its size and its colour by numbers that the
 * reader chooses.
 *
 * 1. Where tiles lie is worked out when the choice or the list changes, and at a close, so that nothing wanders about.
 * 2. Colours follow the market, at most twice a second; the span of the scale is taken with the places.
 * 3. Arrow keys lead from tile to tile; the same market is there as a list too.
 */

import { factorOf, factors } from "./catalogue.js";
import { columns } from "./chosen.js";
import { columnOf } from "./columns.js";
import { fill, h } from "./dom.js";
import { nextFrame } from "./frame.js";
import { t, tOr } from "./i18n.js";
import { bind } from "./keys.js";
import { kindOf } from "./lists.js";
import { live } from "./live.js";
import { market } from "./market.js";
import { drawLegend, drawMap } from "./map_canvas.js";
import { colourColumn, controls, EVENED, makeList, tipOf } from "./map_words.js";
import { blank } from "./notice.js";
import { order } from "./order.js";
import { personal } from "./personal.js";
import { spanOf } from "./shades.js";
import { state } from "./state.js";
import { onColours } from "./theme.js";
import { grouped, neighbour, squarified } from "./treemap.js";

state.define("size", "text", EVENED);
state.define("colour", "text", "day");
state.define("group", "text", "");

const EVERY = 500;
const HEAD = 16;
/** No tile gets so small that it cannot be found: a share of the mean. */
const LEAST_SHARE = 0.06;

/**
 * @param {HTMLElement} container
 * @returns {import("./views.js").View}
 */
export function mount(container) {
  const map = new Heatmap(container);
  map.start();
  return { update: (names) => map.update(names), unmount: () => map.close() };
}

class Heatmap {
  #rows = [];
  #rects = [];
  #groups = [];
  #span = spanOf([]);
  #focus = -1;
  /** Where the pointer is over the map. */
  #pointer = null;
  #drawn = 0;
  #past = false;
  #timer = 0;
  #ends = [];

  constructor(container) {
    this.canvas = h("canvas", {
      tabindex: "0", role: "application", "aria-roledescription": t("map.role"), "aria-label": t("map.label"),
      "aria-describedby": "map-said",
    });
    this.tip = h("div.map-tip", { hidden: true });
    this.said = h("p.aloud", { id: "map-said", "aria-live": "polite" });
    this.list = makeList();
    this.empty = h("div.map-empty");
    this.legend = h("canvas.map-scale", { role: "img" });
    this.bar = h("div.map-bar");
    this.stage = h("div.map-stage", {}, this.canvas, this.tip, this.empty, this.said);
    fill(container, h("div.map-page", {}, h("h1.aloud", {}, t("view.map")), this.bar, this.stage, this.list.element));
  }

  start() {
    this.#ends = [
      market.subscribe("table", (bar) => (bar.past === this.#past ? this.#place() : this.#choices())),
      market.subscribe("symbols", () => this.#place()),
      market.subscribe("failed", () => this.#place()),
      market.subscribe("prices", () => this.#soon()),
      live.on("status", () => this.#place()),
      personal.subscribe(() => this.#place()),
      onColours(() => nextFrame(this.#draw)),
      ...["Left", "Right", "Up", "Down"].map((way) => {
        const act = () => this.#move(way.toLowerCase());
        return bind(`Arrow${way}`, { label: "map.keys.move", group: "keys.map", act });
      }),
      bind("Enter", { label: "map.keys.open", group: "keys.map", act: () => this.#open(this.#focus) }),
    ];
    this.resized = new ResizeObserver(() => this.#place());
    this.resized.observe(this.stage);
    this.canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.#point(null));
    this.canvas.addEventListener("click", (event) => this.#open(this.#tileAt(event)));
    this.canvas.addEventListener("blur", () => this.#setFocus(-1));
    factors().then(() => this.#choices(), () => {});
    this.#choices();
  }

  update(names) {
    if (["cols", "preset"].some((name) => names.has(name))) this.#choices();
    if (["size", "colour", "group", "find", "only", "cat", "list"].some((name) => names.has(name))) this.#choices();
  }

  close() {
    clearTimeout(this.#timer);
    this.resized.disconnect();
    for (const end of this.#ends) end();
    market.want("map", []);
  }

  /** Take in what the reader chose. */
  #choices() {
    this.#past = market.bar?.past;
    const chosen = [state.get("size"), state.get("colour")];
    const needed = chosen.filter((key) => isColumn(key) && columnOf(key).expression !== null);
    market.want("map", needed);
    const own = columns().filter((key) => columnOf(key).expression !== null);
    fill(this.bar, controls([...new Set([...own, ...needed])]), this.legend);
    this.#place();
  }

  /** Work out who is shown, where, and what the colours span. */
  #place() {
    const focused = this.#rows[this.#focus];
    order.take();
    this.#rows = order.rows.slice();
    // While the list is shown the map has no size.
    const { clientWidth: w, clientHeight: height } = this.stage;
    const values = sizes(this.#rows);
    const room = { x: 0, y: 0, w, h: height };
    const group = state.get("group");
    const names = group ? this.#rows.map((row) => groupOf(row, group)) : [];
    const laid = group ? grouped(values, names, room, HEAD) : { rects: squarified(values, room), groups: [] };
    this.#rects = laid.rects;
    this.#groups = laid.groups;
    const colour = colourColumn();
    this.#span = spanOf(this.#rows.map((row) => colour.value(row)), factorOf(colour.key)?.range ?? fixedRange(colour.key));
    // Whoever stands on a symbol stays there.
    this.#focus = this.#rows.indexOf(focused);
    fill(this.empty, blank(order));
    this.list.element.hidden = !state.get("list");
    this.stage.hidden = state.get("list");
    if (state.get("list")) this.list.place(this.#rows, colour);
    nextFrame(this.#draw);
  }

  #soon() {
    const wait = Math.max(0, this.#drawn + EVERY - performance.now());
    this.#timer ||= setTimeout(() => ((this.#timer = 0), nextFrame(this.#draw)), wait);
  }

  #draw = () => {
    this.#drawn = performance.now();
    const colour = colourColumn();
    const marked = this.#focus >= 0 ? this.#focus : this.#hover;
    const tiles = { rows: this.#rows, rects: this.#rects, groups: this.#groups, head: HEAD };
    if (state.get("list")) this.list.write(colour);
    else drawMap(this.canvas, { ...tiles, span: this.#span, colour, marked });
    drawLegend(this.legend, this.#span, colour);
    this.#showTip(marked);
  };

  #tileAt(event) {
    const { offsetX: x, offsetY: y } = event;
    return this.#rects.findIndex((one) => x >= one.x && x < one.x + one.w && y >= one.y && y < one.y + one.h);
  }

  /** The tile under the pointer: under one that rests another one may come to lie. */
  get #hover() {
    return this.#pointer ? this.#tileAt(this.#pointer) : -1;
  }

  #point(event) {
    const before = this.#hover;
    this.#pointer = event && { offsetX: event.offsetX, offsetY: event.offsetY };
    if (this.#hover === before) return;
    this.canvas.style.cursor = this.#hover >= 0 ? "pointer" : "default";
    nextFrame(this.#draw);
  }

  #move(way) {
    this.canvas.focus();
    const from = this.#focus >= 0 ? this.#focus : this.#rects.findIndex((one) => one.x === 0 && one.y === 0);
    this.#setFocus(this.#focus < 0 ? Math.max(0, from) : neighbour(this.#rects, from, way));
  }

  #setFocus(tile) {
    this.#focus = tile;
    this.said.textContent = tile >= 0 ? tipOf(this.#rows[tile], this.#shown()).said : "";
    nextFrame(this.#draw);
  }

  /** The columns of a tile's words: those chosen, and what everybody wants to know. */
  #shown() {
    const keys = ["price", colourColumn().key, state.get("size"), "day", "turnover24h", "score"];
    return [...new Set(keys)].filter(isColumn).map(columnOf);
  }

  #showTip(tile) {
    this.tip.hidden = tile < 0;
    if (tile < 0) return;
    fill(this.tip, tipOf(this.#rows[tile], this.#shown()).body);
    const rect = this.#rects[tile];
    const [width, height] = [this.tip.offsetWidth, this.tip.offsetHeight];
    const right = rect.x + rect.w + 8 + width < this.stage.clientWidth;
    const x = right ? rect.x + rect.w + 8 : Math.max(4, rect.x - width - 8);
    const y = Math.max(4, Math.min(rect.y, this.stage.clientHeight - height - 4));
    this.tip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }

  #open(tile) {
    if (tile >= 0) state.set({ view: "symbol", symbol: market.symbols[this.#rows[tile]].symbol }, { push: true });
  }
}

/** Give the sizes of rows: never below a share of the mean, by size where values have a sign. */
function sizes(rows) {
  const key = state.get("size");
  if (key === "equal") return rows.map(() => 1);
  const column = columnOf(key === EVENED ? "turnover24h" : key);
  const even = key === EVENED ? Math.sqrt : Math.abs;
  const values = rows.map((row) => even(column.value(row)) || 0);
  const mean = values.reduce((sum, one) => sum + one, 0) / (values.length || 1);
  return mean > 0 ? values.map((one) => Math.max(one, mean * LEAST_SHARE)) : rows.map(() => 1);
}

function isColumn(key) {
  return key !== "equal" && key !== EVENED;
}

function groupOf(row, group) {
  const kind = kindOf(row, group);
  return kind ? tOr(`kind.${kind}`, kind) : t("map.group.other");
}

function fixedRange(key) {
  return key === "score" || key === "why" ? "-60 to 60" : "";
}
