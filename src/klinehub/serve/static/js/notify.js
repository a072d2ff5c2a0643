/**
 * Notifications of the browser: off until the reader turns them on, never more than one in five seconds.
 *
 * What fires within a second, or while the last notification is fresh, is told together: one alert by itself,
 * several as one digest, however many there are.
 */

import { formatNumber, formatPrice, t } from "./i18n.js";
import { market } from "./market.js";
import { personal } from "./personal.js";
import { state } from "./state.js";

const GATHER = 1_000;
const PAUSE = 5_000;
const NAMED = 5;
let waiting = { count: 0, rules: new Map(), symbols: [], last: null };
let timer = 0;
let shown = -Infinity;

/** @returns {"unsupported"|"denied"|"off"|"on"} unsupported also where the page is not served safely */
export function standing() {
  if (!("Notification" in globalThis) || !isSecureContext) return "unsupported";
  if (Notification.permission === "denied") return "denied";
  return Notification.permission === "granted" && personal.get("notify", false) ? "on" : "off";
}

/** Turn notifications on or off; the browser asks the reader the first time. To be called on a click. */
export async function toggle() {
  const on = standing() !== "on" && (await Notification.requestPermission()) === "granted";
  personal.set("notify", on || undefined);
}

/** Tell of alerts from now on. */
export function startNotifying() {
  market.subscribe("alert", (alert) => standing() === "on" && gather(alert));
}

function gather(alert) {
  waiting.count += 1;
  waiting.last = alert;
  waiting.rules.set(alert.rule, (waiting.rules.get(alert.rule) ?? 0) + 1);
  if (waiting.symbols.length < NAMED) waiting.symbols.push(alert.symbol);
  timer ||= setTimeout(show, Math.max(GATHER, shown + PAUSE - performance.now()));
}

function show() {
  const told = waiting;
  waiting = { count: 0, rules: new Map(), symbols: [], last: null };
  timer = 0;
  shown = performance.now();
  const { title, body } = told.count === 1 ? single(told.last) : digest(told);
  const icon = new URL("../icon.svg", import.meta.url).href;
  // Of several windows the last one's takes the place of the others'.
  const one = new Notification(title, { body, icon, tag: `klinehub-${told.last.id}` });
  one.onclick = () => {
    window.focus();
    if (told.count === 1) state.set({ view: "symbol", symbol: told.last.symbol, tf: told.last.timeframe }, { push: true });
    one.close();
  };
}

function single(alert) {
  const listed = market.symbols[market.rows.get(alert.symbol)];
  const numbers = Object.entries(alert.columns ?? {}).map(([name, value]) => `${name} ${formatNumber(value)}`);
  const price = `${formatPrice(alert.price, listed?.price_decimals ?? 2)} (${formatNumber(alert.change, "percent")})`;
  return { title: `${alert.symbol} · ${alert.rule}`, body: [price, ...numbers].join("\n") };
}

/**
 * Say what several alerts were.
 * @param {{count: number, rules: Map<string, number>, symbols: string[]}} told
 * @returns {{title: string, body: string}}
 */
export function digest({ count, rules, symbols }) {
  const by = [...rules].sort((a, b) => b[1] - a[1]).slice(0, NAMED).map(([name, number]) => `${name} ${number}`);
  const more = count > symbols.length ? ` … +${count - symbols.length}` : "";
  return { title: t("alerts.notify.many", { count }), body: `${by.join(" · ")}\n${symbols.join(", ")}${more}` };
}
