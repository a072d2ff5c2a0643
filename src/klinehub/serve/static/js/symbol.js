/**
 * The page of one symbol: its chart with factors in panes, what its score is made of, and its alerts; now, or as all
 * of it was known at a past moment.
 */

import { factors, factorOf } from "./catalogue.js";
import { openChart } from "./chart.js";
import { sort, where } from "./chosen.js";
import { columnOf } from "./columns.js";
import { fill, h } from "./dom.js";
import { nextFrame } from "./frame.js";
import { formatNumber, formatPrice, formatTime, t } from "./i18n.js";
import { bind } from "./keys.js";
import { live } from "./live.js";
import { market } from "./market.js";
import { blank } from "./notice.js";
import { order } from "./order.js";
import { Panes } from "./panes.js";
import { textButton } from "./pieces.js";
import { chosenPanes, factorColumns, neighbourOf, togglePane } from "./subject.js";
import { timeframe } from "./shell.js";
import { state } from "./state.js";
import { SymbolData } from "./symbol_data.js";
import { SymbolHead } from "./symbol_head.js";
import { SymbolSide } from "./symbol_side.js";
import { onColours } from "./theme.js";

/** Who made the chart; what its licence asks to be said stands below it. */
const MAKER = "https://www.tradingview.com/";
/** What makes it another chart. */
const SUBJECT = ["symbol", "tf", "at"];

/**
 * @param {HTMLElement} container
 * @returns {import("./views.js").View}
 */
export function mount(container) {
  const page = new SymbolPage(container);
  page.start();
  return { update: (names) => page.update(names), unmount: () => page.close() };
}

class SymbolPage {
  #chart = null;
  #panes = null;
  #data = null;
  #marks = [];
  #cross = null;
  #ends = [];
  #closed = false;

  constructor(container) {
    this.head = new SymbolHead((step) => this.go(step));
    this.side = new SymbolSide();
    this.legend = h("div.chart-legend", { "aria-hidden": "true" });
    this.words = h("div.chart-words", {}, this.legend);
    this.canvas = h("div.chart-canvas", { role: "img", "aria-label": t("symbol.loading") });
    this.said = h("div.chart-said", { role: "status" });
    const credit = h("a", { href: MAKER, target: "_blank", rel: "noreferrer noopener" }, t("symbol.credit"));
    this.stage = h("section.chart", {}, this.canvas, this.words, this.said, h("p.chart-credit", {}, credit));
    this.element = h("div.symbol-page", {}, this.head.element, h("div.symbol-body", {}, this.stage, this.side.element));
    fill(container, this.element);
  }

  async start() {
    this.#say(t("symbol.loading"));
    this.#ends = [
      market.subscribe("prices", () => nextFrame(this.#numbers)),
      market.subscribe("table", () => (nextFrame(this.#reasons), this.#chosen())),
      market.subscribe("symbols", () => this.#data ?? this.#open()),
      market.subscribe("stale", () => nextFrame(this.#numbers)),
      live.on("status", () => this.#wait()),
      onColours(() => this.#repaint()),
      ...this.#keys(),
    ];
    const hooks = { onolder: () => this.#data?.older(), oncross: (time) => this.#read(time) };
    // Without them panes have no units: that keeps no chart away.
    const [chart] = await Promise.all([openChart(this.canvas, hooks), factors().catch(() => null)]);
    if (this.#closed) return chart.close();
    this.#chart = chart;
    this.#panes = new Panes(chart, this.words, togglePane);
    this.#open();
  }

  #keys() {
    const group = "keys.symbol";
    const step = (by, label) => ({ label, group, act: () => this.go(by) });
    return [
      ...["ArrowLeft", "ArrowUp"].map((key) => bind(key, step(-1, "symbol.previous"))),
      ...["ArrowRight", "ArrowDown"].map((key) => bind(key, step(1, "symbol.next"))),
      bind("Escape", { label: "symbol.back", group, act: leave }),
    ];
  }

  /** Go to the symbol so many places further in the table. */
  go(step) {
    const next = neighbourOf(state.get("symbol"), step);
    if (next) state.set({ symbol: next });
  }

  update(names) {
    if (SUBJECT.some((name) => names.has(name))) this.#open();
    else if (["panes", "where", "preset", "cols"].some((name) => names.has(name))) this.#chosen();
  }

  close() {
    this.#closed = true;
    this.#data?.close();
    for (const end of this.#ends) end();
    market.want("symbol", []);
    this.#panes?.close();
    this.#chart?.close();
    document.title = "klinehub";
  }

  #open() {
    this.#data?.close();
    this.#data = null;
    if (!this.#chart || !market.symbols.length) return this.#wait();
    const symbol = state.get("symbol") || neighbourOf("", 1);
    if (symbol !== state.get("symbol")) return state.set({ symbol });
    this.head.show(symbol);
    this.side.show(symbol);
    this.element.classList.toggle("unknown", !market.rows.has(symbol));
    this.#forget();
    document.title = `${symbol} · klinehub`;
    this.#data = new SymbolData({ symbol, timeframe: timeframe(), at: state.get("at") }, {
      onbars: (how) => this.#bars(how),
      onvalues: (name, told) => (this.#panes.values(name, told), this.side.values(name, this.#panes.newest(name))),
      onvaluesfailed: (name, message) => this.#panes.failed(name, message),
      onmarks: (marks) => ((this.#marks = marks), this.#chart.mark(marks)),
      onalerts: (alerts) => this.side.alerts(alerts),
      onfailed: (error) => this.#failed(error),
    });
    this.#choosePanes();
    this.#data.open(chosenPanes(), where());
  }

  /** Say why nobody is known yet. */
  #wait() {
    if (!this.#data && !market.symbols.length) fill(this.said, blank(order));
  }

  #forget() {
    this.#marks = [];
    this.#panes.clear();
    this.#chart.mark([]);
    this.#chart.show([], { length: 0, decimals: this.#decimals, fresh: false });
    fill(this.legend);
    this.side.alerts([]);
    this.#say(t("symbol.loading"));
  }

  get #decimals() {
    return market.symbols[market.rows.get(state.get("symbol"))]?.price_decimals ?? 2;
  }

  #choosePanes() {
    const chosen = chosenPanes();
    // What the table is sorted by says who comes next.
    const { expression } = columnOf(sort().key);
    market.want("symbol", [...new Set([...factorColumns(), ...chosen, ...(expression ? [expression] : [])])]);
    this.#panes.choose(chosen, (name) => factorOf(name) ?? { unit: "", range: "" });
    this.side.choose(chosen);
  }

  #chosen() {
    if (!this.#data) return;
    this.#choosePanes();
    this.#data.choose(chosenPanes(), where());
  }

  #bars(how) {
    if (how === "tail") this.#data.bars.slice(-2).forEach((bar) => this.#chart.update(bar));
    else this.#showAll(how === "new");
    this.#read(this.#cross);
    nextFrame(this.#numbers);
  }

  #showAll(fresh) {
    const { bars, length } = this.#data;
    this.#chart.show(bars, { length, decimals: this.#decimals, fresh });
    this.#describe();
    if (!fresh) return;
    this.#say(bars.length ? "" : t("symbol.empty"));
    this.#panes.layOut();
    nextFrame(this.#reasons);
  }

  /** Say in words what the chart shows. */
  #describe() {
    const last = this.#data.bars.at(-1);
    if (!last) return;
    const shown = { symbol: state.get("symbol"), tf: timeframe(), from: formatTime(this.#data.bars[0].open_time, "full") };
    const close = formatPrice(last.close, this.#decimals);
    this.canvas.setAttribute("aria-label", t("symbol.chart", { ...shown, to: formatTime(last.open_time, "full"), close }));
  }

  #numbers = () => {
    this.head.update(this.#data);
    this.side.write(this.#data);
  };

  /** What only a close changes. */
  #reasons = () => {
    this.side.update();
    this.#numbers();
  };

  /** Write what the bar under the pointer, or the newest one, is. */
  #read(time) {
    this.#cross = time;
    const bars = this.#data?.bars ?? [];
    const bar = time === null ? bars.at(-1) : bars.findLast((one) => one.open_time <= time);
    this.#panes.read(time);
    if (!bar) return;
    const price = (value) => formatPrice(value, this.#decimals);
    const way = bar.close >= bar.open ? "up" : "down";
    const part = (key, text) => h("span.pair", {}, h("span.muted", {}, t(`symbol.legend.${key}`)), h(`span.${way}`, {}, text));
    fill(this.legend, h("span.muted", {}, formatTime(bar.open_time, "full")),
      ["open", "high", "low", "close"].map((key) => part(key, price(bar[key]))),
      part("volume", formatNumber(bar.volume, "compact")), bar.forming && h("span.tag", {}, t("symbol.legend.forming")),
      this.#marks.filter((mark) => mark.time === bar.open_time).map(markWords));
  }

  #repaint() {
    this.#chart?.repaint();
    this.#panes?.repaint();
    this.#chart?.mark(this.#marks);
  }

  #failed(error) {
    const unknown = error.error === "UnknownName";
    const known = market.rows.has(state.get("symbol"));
    const text = unknown && !known ? t("symbol.unknown", { symbol: state.get("symbol") }) : t("symbol.failed");
    const way = unknown && !known ? textButton("symbol.back", leave) : textButton("symbol.again", () => this.#open());
    this.#say(text, h("p.muted", {}, error.message), way);
  }

  #say(text, ...more) {
    this.said.hidden = !text;
    fill(this.said, text && h("p", {}, text), more);
  }
}

function leave() {
  state.set({ view: "table", symbol: "" }, { push: true });
}

function markWords(mark) {
  if (mark.kind === "held") return h("span.tag.held", {}, t("symbol.mark.held"));
  return h("span.tag.fired", {}, t("symbol.mark.fired", { names: mark.names.join(", "), n: mark.count }));
}
