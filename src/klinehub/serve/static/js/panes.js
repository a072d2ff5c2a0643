/** Factors in panes below the candles: a line each, with its name, its unit and its value at a bar. */

import { button, fill, h } from "./dom.js";
import { formatNumber, t } from "./i18n.js";
import { barOf } from "./markers.js";
import { spanOf } from "./shades.js";
import { colour } from "./theme.js";

/** How much higher the candles are than a pane. */
const CANDLES = 4;

/** The panes of one chart. */
export class Panes {
  #chart;
  #place;
  #onremove;
  /** @type {{name: string, series: any, line: any, head: HTMLElement, value: HTMLElement, times: number[], values: any[]}[]} */
  #all = [];
  #sizes = new ResizeObserver(() => this.#placed());

  /**
   * @param {import("./chart.js").Chart} chart
   * @param {HTMLElement} place an element over the chart, for what stands in words
   * @param {(name: string) => void} onremove
   */
  constructor(chart, place, onremove) {
    this.#chart = chart;
    this.#place = place;
    this.#onremove = onremove;
  }

  /** @returns {string[]} the names of what is shown */
  get names() {
    return this.#all.map((pane) => pane.name);
  }

  /**
   * Show these factors and no others.
   * @param {string[]} names
   * @param {(name: string) => {unit: string, range: string}} about
   */
  choose(names, about) {
    for (const pane of this.#all.filter((one) => !names.includes(one.name))) this.#remove(pane);
    for (const name of names) if (!this.names.includes(name)) this.#add(name, about(name));
    this.layOut();
  }

  #add(name, { unit, range }) {
    const { api, drawing } = this.#chart;
    const series = api.addSeries(drawing.LineSeries, {
      color: colour("accent"), lineWidth: 1.5, priceLineVisible: false, crosshairMarkerRadius: 3,
      priceFormat: { type: "custom", minMove: 1e-8, formatter: (value) => formatNumber(value) },
    }, this.#all.length + 1);
    // The words stand above the line.
    series.priceScale().applyOptions({ scaleMargins: { top: 0.28, bottom: 0.08 } });
    const { middle, low } = spanOf([-1, 1], range);
    const price = middle === low ? 0 : middle;
    const line = series.createPriceLine({ price, color: colour("line"), lineWidth: 1, lineStyle: 2, axisLabelVisible: false });
    const value = h("span.pane-value", {}, "–");
    const label = t("symbol.pane.remove", { name });
    const remove = button({ label, icon: "close", class: "quiet small" }, () => this.#onremove(name));
    const head = h("div.pane-head", {}, h("span.mono", {}, name), value, h("span.muted", {}, unit), remove);
    this.#place.append(head);
    this.#all.push({ name, series, line, head, value, times: [], values: [] });
  }

  #remove(pane) {
    pane.head.remove();
    this.#chart.api.removeSeries(pane.series);
    this.#all = this.#all.filter((one) => one !== pane);
  }

  /**
   * Show values of a factor, in front of or behind those that are known, or anew.
   * @param {string} name
   * @param {{open_time: number[], values: (number|null)[]}} told
   */
  values(name, told) {
    const pane = this.#all.find((one) => one.name === name);
    if (!pane) return;
    const known = new Map(pane.times.map((time, i) => [time, pane.values[i]]));
    told.open_time.forEach((time, i) => known.set(time, told.values[i]));
    const rows = [...known].sort(([a], [b]) => a - b);
    pane.times = rows.map(([time]) => time);
    pane.values = rows.map(([, value]) => value);
    const from = this.#chart.bars[0]?.open_time ?? Infinity;
    pane.series.setData(rows.filter(([time]) => time >= from).map(([time, value]) =>
      value === null ? { time: time / 1000 } : { time: time / 1000, value }));
    this.read(null);
  }

  /** Forget all values, before those of another symbol come. */
  clear() {
    for (const pane of this.#all) {
      Object.assign(pane, { times: [], values: [] });
      pane.series.setData([]);
      fill(pane.value, "–");
    }
  }

  /**
   * Say in the place of a factor's value why there is none.
   * @param {string} name
   * @param {string} message
   */
  failed(name, message) {
    const pane = this.#all.find((one) => one.name === name);
    if (pane) fill(pane.value, h("span.bad", { title: message }, message));
  }

  /**
   * Write the values at a bar.
   * @param {number|null} time its open time; null is the newest
   */
  read(time) {
    for (const { times, values, value } of this.#all) {
      if (times.length) value.textContent = formatNumber(values[time === null ? values.length - 1 : barOf(times, time)]);
    }
  }

  /** @param {string} name @returns {number|null|undefined} the newest value that is known */
  newest(name) {
    return this.#all.find((pane) => pane.name === name)?.values.at(-1);
  }

  /** Give each pane its height, and put its words at its top. */
  layOut() {
    const panes = this.#chart.api.panes();
    panes.forEach((pane, i) => pane.setStretchFactor(i ? 1 : CANDLES));
    // Panes have their elements, and their heights, once they are drawn; both may change by the reader's hand.
    requestAnimationFrame(() => {
      this.#sizes.disconnect();
      for (const pane of this.#chart.api.panes()) if (pane.getHTMLElement()) this.#sizes.observe(pane.getHTMLElement());
    });
  }

  /** Let go of the chart. */
  close() {
    this.#sizes.disconnect();
  }

  /** Put the words where the panes are. */
  #placed() {
    let top = 0;
    this.#chart.api.panes().forEach((pane, i) => {
      if (i && this.#all[i - 1]) this.#all[i - 1].head.style.transform = `translateY(${Math.round(top + 4)}px)`;
      top += pane.getHeight() + 1;
    });
  }

  /** Draw in the colours of now. */
  repaint() {
    for (const { series, line } of this.#all) {
      series.applyOptions({ color: colour("accent") });
      line.applyOptions({ color: colour("line") });
    }
  }
}
