/**
 * The market as the page knows it: who is listed, the newest prices, and the values of the view that it asked for.
 *
 * 1. Whoever shows something says which columns it needs (`want`); all of them are asked for as one view.
 * 2. Messages are copied into arrays that stay, a place for each row: NaN is what is not known.
 * 3. Rows are only added: what is told of fewer rows than are listed is true of these.
 * 4. While it is held, the newest message of each kind waits, so that nothing on the page moves.
 */

import { live } from "./live.js";

const MOST_COLUMNS = 40;
/** How many bars are drawn small; the hub sends as many where nobody says otherwise. */
const BARS = 48;
const PRICES = ["price", "change", "day", "turnover"];
const listeners = new Map();
const wants = new Map();
/** What waits while the market is held. */
let held = null;
let asked = { id: 0, text: "" };
let planned = false;
let opened = false;
let sparks = true;

export const market = {
  /** What the hub said of itself, null before. */
  hello: null,
  /** Grows when the list of symbols changes. */
  layout: 0,
  /** @type {{symbol: string, pair: string, base: string, quote: string, status: string, contract_type: string,
   *   underlying_type: string, onboard_time: number, delivery_time: number, price_decimals: number}[]} */
  symbols: [],
  /** @type {Map<string, number>} the row of each symbol */
  rows: new Map(),
  /** The newest time of the exchange that was told. */
  time: 0,
  price: new Float64Array(),
  /** Percent against the open of the bar that is open now. */
  change: new Float64Array(),
  /** Percent of 24 hours. */
  day: new Float64Array(),
  /** Quote turnover of 24 hours. */
  turnover: new Float64Array(),
  score: new Float64Array(),
  /** Percent of the bar of the table, which is closed unless forming bars are asked for. */
  barChange: new Float64Array(),
  /** @type {Record<string, Float64Array>} by the text of the expression */
  values: {},
  /** @type {Record<string, Float64Array>} points of each part of the score */
  parts: {},
  /** @type {Uint8Array|null} which rows pass the filter, null without one */
  passes: null,
  warming: new Set(),
  missing: new Set(),
  /** The bar of the table: its view, timeframe, times, whether it is forming, how often revised, and past. */
  bar: null,
  /** @type {{bars: number, closes: string[], volumes: string[]}|null} base64 of a byte for each bar */
  spark: null,
  /** @type {Map<number, {reason: string, since: number}>} */
  stale: new Map(),
  health: null,
  /** @type {Record<string, {start: number, end: number, buckets: any[]}>} what came after scores, by timeframe */
  evidence: {},
  /** What was wrong with the view: `where`, `timeframe` and `columns` by their texts. */
  errors: { columns: {} },
  /** Why the view was given up, nothing while it is kept. */
  failed: "",

  /**
   * Be told of what has changed: hello, symbols, view, table, prices, spark, stale, health, evidence, alert, failed,
   * held.
   * @param {string} kind
   * @param {(message: any) => void} listener
   * @returns {() => void} ends it
   */
  subscribe(kind, listener) {
    if (!listeners.has(kind)) listeners.set(kind, new Set());
    listeners.get(kind).add(listener);
    return () => listeners.get(kind).delete(listener);
  },

  /**
   * Say which columns somebody needs, as texts of the filter language; an empty list when none are needed any more.
   * @param {string} owner who needs them
   * @param {string[]} columns
   */
  want(owner, columns) {
    if (columns.length) wants.set(owner, columns);
    else wants.delete(owner);
    plan();
  },

  /**
   * Say whether the course of each symbol's last bars is drawn.
   * @param {boolean} wanted
   */
  wantSpark(wanted) {
    if (wanted === sparks) return;
    sparks = wanted;
    live.send({ type: "spark", bars: wanted ? BARS : 0 });
  },

  /**
   * Say what the whole page looks at; it is asked for once the caller is done.
   * @param {{timeframe?: string, where?: string, forming?: boolean, at?: number}} patch
   */
  look(patch) {
    Object.assign(looks, patch);
    plan();
  },

  /** Ask for what the page looks at from now on: before it is drawn nobody knows what that is. */
  open() {
    opened = true;
    plan();
  },

  /** @returns {boolean} whether what is shown is what was asked for last */
  get settled() {
    return this.bar !== null && this.bar.view === asked.id;
  },

  /** @returns {boolean} whether updates wait */
  get paused() {
    return held !== null;
  },

  /** @returns {number} how many updates wait */
  get waiting() {
    return held?.count ?? 0;
  },

  /**
   * Let nothing move, or move on with the newest of everything.
   * @param {boolean} on
   */
  hold(on) {
    if (on === this.paused) return;
    const kept = held;
    held = on ? { count: 0, table: null, spark: null, prices: new Map(), time: 0 } : null;
    if (kept) release(kept);
    tell("held", on);
  },
};

/** The newest prices, which go on while a past moment is looked at. */
const newest = Object.fromEntries(PRICES.map((name) => [name, new Float64Array()]));
const looks = { timeframe: "", where: "", forming: false, at: 0 };

function tell(kind, message) {
  for (const listener of listeners.get(kind) ?? []) listener(message);
}

function plan() {
  if (planned) return;
  planned = true;
  queueMicrotask(() => {
    planned = false;
    if (market.hello && opened) ask();
  });
}

function ask() {
  // Sorted, so that another order of the same columns is nothing new to compute.
  const columns = [...new Set([...wants.values()].flat())].slice(0, MOST_COLUMNS).sort();
  const timeframe = looks.timeframe || market.hello.default;
  const view = { timeframe, columns, where: looks.where, forming: looks.forming, at: looks.at };
  const text = JSON.stringify(view);
  if (text === asked.text) return;
  asked = { id: asked.id + 1, text };
  market.failed = "";
  live.send({ type: "view", id: asked.id, ...view });
  tell("asked", view);
}

/** Give an array of so many places; one that is there already keeps what it has. */
function sized(array, size) {
  if (array?.length === size) return array;
  const made = new Float64Array(size).fill(NaN);
  if (array) made.set(array.subarray(0, size));
  return made;
}

function copied(into, from) {
  const array = sized(into, market.symbols.length);
  for (let row = 0; row < array.length; row++) array[row] = from[row] ?? NaN;
  return array;
}

function copiedAll(into, from) {
  const made = {};
  for (const name of Object.keys(from)) made[name] = copied(into[name], from[name]);
  return made;
}

function onSymbols(message) {
  // Another hub may list others in another order: what is known of rows is then of no use.
  const grown = market.symbols.every((one, row) => message.symbols[row]?.symbol === one.symbol);
  market.layout = message.layout;
  market.symbols = message.symbols;
  market.rows = new Map(message.symbols.map((one, row) => [one.symbol, row]));
  const size = message.symbols.length;
  for (const name of ["score", "barChange"]) market[name] = sized(grown ? market[name] : null, size);
  for (const name of PRICES) newest[name] = sized(grown ? newest[name] : null, size);
  // Of a past moment nothing is told twice.
  if (grown && market.bar?.past) for (const name of PRICES) market[name] = sized(market[name], size);
  else Object.assign(market, newest);
  if (!grown) forget();
  tell("symbols", message);
}

function forget() {
  Object.assign(market, { values: {}, parts: {}, passes: null, bar: null, spark: null });
  Object.assign(market, { stale: new Map(), warming: new Set(), missing: new Set() });
  if (held) Object.assign(held, { table: null, spark: null, prices: new Map() });
}

function onTable(message) {
  if (message.layout > market.layout || message.view !== asked.id) return;
  if (held && market.settled) return wait("table", message);
  const { view, timeframe, bar, open_time, close_time, forming, revision } = message;
  market.bar = { view, timeframe, bar, open_time, close_time, forming, revision, past: looks.at > 0 };
  market.barChange = copied(market.barChange, message.change);
  market.score = copied(market.score, message.score);
  market.values = copiedAll(market.values, message.values);
  market.parts = copiedAll(market.parts, message.parts);
  market.passes = message.passes && Uint8Array.from(message.passes);
  market.warming = new Set(message.warming);
  market.missing = new Set(message.missing);
  if (market.bar.past) lookBack(message);
  else lookNow(message.close);
  tell("table", market.bar);
}

/** Of a past moment only what its bars say is known. */
function lookBack(message) {
  market.price = copied(null, message.close);
  market.change = copied(null, message.change);
  market.day = copied(null, []);
  market.turnover = copied(null, []);
}

function lookNow(closes) {
  Object.assign(market, newest);
  for (let row = 0; row < closes.length; row++) {
    if (Number.isNaN(market.price[row])) market.price[row] = closes[row] ?? NaN;
  }
}

function onPrices(message) {
  if (message.layout > market.layout) return;
  if (held) {
    held.count++;
    held.time = message.time;
    message.rows.forEach((row, i) => held.prices.set(row, PRICES.map((name) => message[name][i])));
    return tell("waiting", held.count);
  }
  market.time = message.time;
  for (const name of PRICES) {
    const [into, from] = [newest[name], message[name]];
    message.rows.forEach((row, i) => (into[row] = from[i] ?? NaN));
  }
  if (!market.bar?.past) tell("prices", message.rows);
}

function onSpark(message) {
  if (message.layout > market.layout || message.view !== asked.id) return;
  if (held && market.spark) return wait("spark", message);
  market.spark = { bars: message.bars, closes: message.closes, volumes: message.volumes };
  tell("spark", market.spark);
}

function wait(kind, message) {
  held[kind] = message;
  held.count++;
  tell("waiting", held.count);
}

function release(kept) {
  if (kept.table) onTable(kept.table);
  if (kept.spark) onSpark(kept.spark);
  if (!kept.prices.size) return;
  const rows = [...kept.prices.keys()];
  const columns = PRICES.map((_, i) => rows.map((row) => kept.prices.get(row)[i]));
  const prices = Object.fromEntries(PRICES.map((name, i) => [name, columns[i]]));
  onPrices({ layout: market.layout, time: kept.time, rows, ...prices });
}

live.on("hello", (message) => {
  market.hello = message;
  market.time = message.time;
  tell("hello", message);
  plan();
});
live.on("symbols", onSymbols);
live.on("table", onTable);
live.on("prices", onPrices);
live.on("spark", onSpark);
live.on("view", (message) => {
  if (message.id !== asked.id) return;
  const errors = { columns: {}, ...message.errors };
  const same = JSON.stringify(errors) === JSON.stringify(market.errors);
  market.errors = errors;
  if (!same) tell("view", errors);
});
live.on("stale", (message) => {
  if (message.layout > market.layout) return;
  market.stale = new Map(Object.entries(message.rows).map(([row, why]) => [Number(row), why]));
  tell("stale", market.stale);
});
live.on("health", (message) => {
  market.health = message;
  if (!held) market.time = message.time;
  tell("health", message);
});
live.on("evidence", (message) => {
  market.evidence = message.frames;
  tell("evidence", market.evidence);
});
live.on("alert", ({ alert }) => tell("alert", alert));
live.on("failed", (message) => {
  if (message.view !== asked.id) return;
  market.failed = message.message;
  tell("failed", message);
});
