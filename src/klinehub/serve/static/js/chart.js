/**
 * The chart of one symbol: candles with volume below them, marks, and panes for factors.
 *
 * 1. The library is loaded when the first chart opens.
 * 2. Bars stand where their time is: bars that lack leave a hole as wide as they would be.
 * 3. The bar that is still open is drawn hollow.
 */

import { formatNumber, formatPrice, formatTime, language } from "./i18n.js";
import { faded } from "./shades.js";
import { colour } from "./theme.js";
import { tick, timeScaleOf } from "./time_scale.js";

/** A hole wider than this is closed up: nobody scrolls through months of nothing. */
const WIDEST_HOLE = 2_000;
const OLDER_BEFORE = 30;
const SHOWN = { wide: 150, narrow: 60 };
let library = null;

/**
 * @typedef {{open_time: number, open: number, high: number, low: number, close: number, volume: number,
 *   forming: boolean}} Bar
 */

/**
 * Open a chart in an element.
 * @param {HTMLElement} place
 * @param {{onolder: () => void, oncross: (time: number|null) => void}} hooks `onolder` when
 *   the reader comes near the first bar, `oncross` with the open time of the bar under the pointer
 */
export async function openChart(place, hooks) {
  library ??= import("../vendor/lightweight-charts.js");
  const drawing = await library;
  const Scale = timeScaleOf(drawing);
  const chart = drawing.createChartEx(place, new Scale(), { autoSize: true, ...look() });
  return new Chart(drawing, chart, place, hooks);
}

class Chart {
  #drawing;
  #candles;
  #volume;
  #marks;
  #place;
  #bars = [];
  #length = 0;
  #decimals = 2;

  constructor(drawing, chart, place, hooks) {
    this.api = chart;
    this.#drawing = drawing;
    this.#place = place;
    this.#candles = chart.addSeries(drawing.CandlestickSeries, { priceLineStyle: 2 });
    this.#volume = chart.addSeries(drawing.HistogramSeries, {
      priceScaleId: "volume", lastValueVisible: false, priceLineVisible: false, priceFormat: { type: "volume" },
    });
    this.#candles.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.22 } });
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#marks = drawing.createSeriesMarkers(this.#candles, []);
    chart.subscribeCrosshairMove((at) => hooks.oncross(at.time === undefined ? null : at.time * 1000));
    chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && range.from < OLDER_BEFORE && hooks.onolder());
    this.repaint();
  }

  /** The classes of the library's series. */
  get drawing() {
    return this.#drawing;
  }

  /** @returns {Bar[]} what is shown, oldest first */
  get bars() {
    return this.#bars;
  }

  /**
   * Show bars; what is in view stays there when older ones came in front.
   * @param {Bar[]} bars oldest first
   * @param {{length: number, decimals: number, fresh: boolean}} options `length` of a bar in ms; `fresh` shows the
   *   newest bars
   */
  show(bars, { length, decimals, fresh }) {
    this.#bars = bars;
    this.#length = length;
    this.#decimals = decimals;
    const priceFormat = { type: "custom", minMove: 10 ** -decimals, formatter: (price) => formatPrice(price, decimals) };
    this.#candles.applyOptions({ priceFormat });
    this.#draw();
    if (fresh) this.newest();
  }

  /**
   * Change the newest bar, or append one.
   * @param {Bar} bar
   */
  update(bar) {
    const last = this.#bars.at(-1);
    if (last && bar.open_time < last.open_time) return;
    if (last?.open_time === bar.open_time) this.#bars[this.#bars.length - 1] = bar;
    else this.#bars.push(bar);
    if (last && bar.open_time > last.open_time + this.#length) return this.#draw();
    this.#candles.update(candle(bar));
    this.#volume.update(column(bar));
  }

  #draw() {
    this.#candles.setData(this.#places(candle));
    this.#volume.setData(this.#bars.map(column));
  }

  /** Give what is drawn of each bar, with places for those that lack between them. */
  #places(drawn) {
    const all = [];
    let before = null;
    for (const bar of this.#bars) {
      const hole = before === null || !this.#length ? 0 : Math.round((bar.open_time - before) / this.#length) - 1;
      if (hole > 0 && hole <= WIDEST_HOLE) {
        for (let i = 1; i <= hole; i++) all.push({ time: (before + i * this.#length) / 1000 });
      }
      all.push(drawn(bar));
      before = bar.open_time;
    }
    return all;
  }

  /** Show the newest bars, as many as can be told apart. */
  newest() {
    const count = this.#place.clientWidth < 600 ? SHOWN.narrow : SHOWN.wide;
    const all = this.#places((bar) => bar).length;
    this.api.timeScale().setVisibleLogicalRange({ from: all - count, to: all + count * 0.04 });
  }

  /**
   * Show marks in the place of those before.
   * @param {import("./markers.js").Mark[]} marks
   */
  mark(marks) {
    this.#marks.setMarkers(marks.map(drawnMark));
  }

  /** Draw in the colours, the language and the zone of now. */
  repaint() {
    const [up, down] = [colour("up"), colour("down")];
    this.api.applyOptions(look());
    this.#candles.applyOptions({
      upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderUpColor: up, borderDownColor: down,
      priceLineColor: colour("muted"),
    });
    if (this.#bars.length) this.#draw();
  }

  /** Close it for good. */
  close() {
    this.api.remove();
  }
}

function candle(bar) {
  const { open, high, low, close } = bar;
  const one = { time: bar.open_time / 1000, open, high, low, close };
  return bar.forming ? { ...one, color: "transparent" } : one;
}

function column(bar) {
  const shown = colour(bar.close >= bar.open ? "up" : "down");
  return { time: bar.open_time / 1000, value: bar.volume, color: faded(shown, bar.forming ? 0.2 : 0.4) };
}

function drawnMark({ time, kind, side, count }) {
  const at = { time: time / 1000, text: count > 1 ? String(count) : "" };
  if (kind === "held") return { ...at, position: "belowBar", shape: "circle", color: colour("accent"), size: 0.6 };
  if (side === "short") return { ...at, position: "aboveBar", shape: "arrowDown", color: colour("warn"), size: 1 };
  if (side === "long") return { ...at, position: "belowBar", shape: "arrowUp", color: colour("warn"), size: 1 };
  return { ...at, position: "aboveBar", shape: "square", color: colour("warn"), size: 0.7 };
}

function look() {
  return {
    layout: {
      background: { type: "solid", color: colour("bg") }, textColor: colour("muted"), fontSize: 11,
      fontFamily: getComputedStyle(document.body).fontFamily,
      // Its own logo brings a style element, which this page refuses, and tells the address of the page: what the
      // licence asks for stands below the chart as text.
      attributionLogo: false,
      panes: { separatorColor: colour("line"), separatorHoverColor: faded(colour("accent"), 0.2) },
    },
    grid: { vertLines: { color: colour("line-soft") }, horzLines: { color: colour("line-soft") } },
    crosshair: {
      mode: 0,
      vertLine: { color: colour("muted"), labelBackgroundColor: colour("faint") },
      horzLine: { color: colour("muted"), labelBackgroundColor: colour("faint") },
    },
    rightPriceScale: { borderColor: colour("line"), minimumWidth: 64 },
    timeScale: { borderColor: colour("line"), timeVisible: true, tickMarkFormatter: tick, minBarSpacing: 1, rightOffset: 4 },
    localization: {
      locale: language() === "zh" ? "zh-CN" : "en-GB",
      timeFormatter: (time) => formatTime(time * 1000, "full"),
      percentageFormatter: (value) => formatNumber(value, "percent"),
    },
    // A finger that moves up or down scrolls the page.
    handleScroll: { vertTouchDrag: false },
    kineticScroll: { mouse: false, touch: !matchMedia("(prefers-reduced-motion: reduce)").matches },
    handleScale: { axisPressedMouseMove: true },
  };
}
