/**
 * What a chart shows of one symbol, kept up to date: bars, values of factors, and marks.
 *
 * 1. Bars come first, then the values of each pane and where the filter holds, each on its own: one that is wrong
 *    keeps none of the others away.
 * 2. Between closes the open bar follows the market's prices. At a close, and every two seconds for its volume, the
 *    newest bars are asked for anew.
 * 3. About a past moment only what had closed by then is shown, and nothing moves.
 */

import { getJson } from "./api.js";
import { carried, lengthOf, newestBars, olderBars, valuesOf } from "./bars.js";
import { market } from "./market.js";
import { alertMarks, heldMarks } from "./markers.js";

const TAIL = 5;
const EVERY = 2_000;
/** A chart that was scrolled so far back is long enough. */
const MOST_BARS = 10_000;
const MOST_ALERTS = 500;

/**
 * @typedef {{onbars: (how: "new"|"older"|"tail") => void, onvalues: (name: string, told: any) => void,
 *   onvaluesfailed: (name: string, message: string) => void, onmarks: (marks: any[]) => void,
 *   onalerts: (alerts: any[]) => void, onfailed: (error: any) => void}} Hooks
 */

/** The data of one symbol at one timeframe, live or at a moment. */
export class SymbolData {
  /** @type {import("./chart.js").Bar[]} */
  bars = [];
  stale = null;
  alerts = [];
  #subject;
  #hooks;
  #columns = [];
  #where = "";
  #held = new Map();
  #stop = new AbortController();
  #older = "idle";
  #asking = false;
  #timer = 0;
  #ends = [];

  /**
   * @param {{symbol: string, timeframe: string, at: number}} subject
   * @param {Hooks} hooks
   */
  constructor(subject, hooks) {
    this.#subject = { ...subject, signal: this.#stop.signal };
    this.#hooks = hooks;
    this.length = lengthOf(subject.timeframe);
  }

  /**
   * Load everything, and follow what happens.
   * @param {string[]} columns the factors in panes
   * @param {string} where the filter, nothing for none
   */
  async open(columns, where) {
    this.choose(columns, where);
    const told = await this.#asked(() => newestBars(this.#subject), this.#hooks.onfailed);
    if (!told) return;
    this.#take(told);
    this.#hooks.onbars("new");
    this.#loadAll();
    this.#loadAlerts();
    if (!this.#subject.at) this.#follow();
  }

  /**
   * Show the values of other factors, or where another filter holds.
   * @param {string[]} columns
   * @param {string} where
   */
  choose(columns, where) {
    const fresh = columns.filter((name) => !this.#columns.includes(name));
    const filtered = where !== this.#where;
    this.#columns = columns;
    this.#where = where;
    if (!this.bars.length) return;
    for (const name of fresh) this.#load(name, { limit: this.bars.length });
    if (!filtered) return;
    this.#held = new Map();
    this.#loadHeld({ limit: this.bars.length });
  }

  /** Ask for bars before the first one. */
  async older() {
    if (this.#older !== "idle" || !this.bars.length || this.bars.length >= MOST_BARS) return;
    this.#older = "asking";
    const before = this.bars[0].open_time;
    const found = await this.#asked(() => olderBars(this.#subject, before));
    this.#older = found?.length ? "idle" : "done";
    if (!found?.length) return;
    this.bars = [...found, ...this.bars];
    this.#hooks.onbars("older");
    const which = { end: before, limit: found.length };
    for (const name of this.#columns) this.#load(name, which);
    this.#loadHeld(which);
  }

  /** Give it up. */
  close() {
    this.#stop.abort();
    clearInterval(this.#timer);
    for (const end of this.#ends) end();
  }

  #follow() {
    this.#timer = setInterval(() => !document.hidden && !market.paused && this.#tail(), EVERY);
    this.#ends = [
      market.subscribe("prices", () => this.#carry()),
      market.subscribe("table", (bar) => bar.timeframe === this.#subject.timeframe && this.#closed()),
      market.subscribe("alert", (alert) => this.#fired(alert)),
    ];
  }

  #carry() {
    const price = market.price[market.rows.get(this.#subject.symbol)];
    const bar = carried(this.bars.at(-1), price ?? NaN, market.time, this.length);
    if (!bar) return;
    if (bar.open_time === this.bars.at(-1).open_time) this.bars[this.bars.length - 1] = bar;
    else this.bars.push(bar);
    this.#hooks.onbars("tail");
  }

  async #closed() {
    await this.#tail();
    for (const name of this.#columns) this.#load(name, { limit: TAIL });
    this.#loadHeld({ limit: TAIL });
  }

  async #tail() {
    if (this.#asking) return;
    this.#asking = true;
    const told = await this.#asked(() => newestBars(this.#subject, TAIL));
    this.#asking = false;
    if (!told?.bars.length) return;
    const before = this.bars.filter((bar) => bar.open_time < told.bars[0].open_time);
    // A page that slept has missed more than what was asked for.
    const torn = this.length && before.length && told.bars[0].open_time > before.at(-1).open_time + this.length;
    if (torn) return this.#again();
    this.#take({ bars: [...before, ...told.bars], stale: told.stale });
    this.#hooks.onbars("tail");
  }

  async #again() {
    const told = await this.#asked(() => newestBars(this.#subject));
    if (!told) return;
    this.#take(told);
    this.#older = "idle";
    this.#hooks.onbars("new");
    this.#loadAll();
  }

  #loadAll() {
    for (const name of this.#columns) this.#load(name, { limit: this.bars.length });
    this.#loadHeld({ limit: this.bars.length });
  }

  #take({ bars, stale }) {
    this.bars = bars;
    this.stale = stale;
  }

  async #load(name, which) {
    const told = await this.#asked(() => valuesOf(this.#subject, name, which),
      (error) => this.#hooks.onvaluesfailed(name, error.message));
    if (told && this.#columns.includes(name)) this.#hooks.onvalues(name, this.#known(told));
  }

  /** Values of bars that had not closed at the moment are none of its business. */
  #known({ open_time, values }) {
    const last = this.bars.findLast((bar) => !bar.forming)?.open_time ?? -1;
    const keep = open_time.map((time) => time <= last);
    return { open_time: open_time.filter((_, i) => keep[i]), values: values.filter((_, i) => keep[i]) };
  }

  async #loadHeld(which) {
    const where = this.#where;
    if (where) {
      const told = await this.#asked(() => valuesOf(this.#subject, `where(${where}, 1, 0)`, which));
      if (where !== this.#where) return;
      if (told) this.#known(told).open_time.forEach((time, i) => this.#held.set(time, told.values[i]));
    }
    this.#mark();
  }

  async #loadAlerts() {
    if (!market.hello?.can.alerts) return;
    const { symbol, at } = this.#subject;
    const told = await this.#asked(() => getJson("api/v1/alerts", { symbol, limit: MOST_ALERTS }, { signal: this.#stop.signal }));
    if (!told) return;
    this.alerts = told.filter((one) => !at || one.time <= at).sort((a, b) => b.id - a.id);
    this.#hooks.onalerts(this.alerts);
    this.#mark();
  }

  #fired(alert) {
    if (alert.symbol !== this.#subject.symbol) return;
    this.alerts = [alert, ...this.alerts.filter((one) => one.id !== alert.id)].slice(0, MOST_ALERTS);
    this.#hooks.onalerts(this.alerts);
    this.#mark();
  }

  #mark() {
    if (!this.bars.length) return;
    const rows = [...this.#held].sort(([a], [b]) => a - b);
    const held = heldMarks(rows.map(([time]) => time), rows.map(([, value]) => value));
    const alerts = alertMarks(this.alerts, this.bars.map((bar) => bar.open_time), lengthOf);
    const from = this.bars[0].open_time;
    this.#hooks.onmarks([...held, ...alerts].filter((mark) => mark.time >= from).sort((a, b) => a.time - b.time));
  }

  /** Ask; what was no longer wanted is nothing, and what went wrong is told to *failed*. */
  async #asked(work, failed) {
    try {
      const told = await work();
      return this.#stop.signal.aborted ? null : told;
    } catch (error) {
      if (error.name !== "AbortError" && !this.#stop.signal.aborted) failed?.(error);
      return null;
    }
  }
}
