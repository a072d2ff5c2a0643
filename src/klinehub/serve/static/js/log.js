/** The log of alerts: what fired, with its numbers, and what became of it at each target. */

import { book, MOST } from "./alert_book.js";
import { fill, h } from "./dom.js";
import { formatNumber, formatPrice, formatTime, t } from "./i18n.js";
import { market } from "./market.js";
import { pageLink, sideWord, toned } from "./pieces.js";
import { partName } from "./why.js";

/** So many are drawn; the rest comes with a narrower filter. */
const MOST_DRAWN = 200;
const MOST_REASONS = 3;

/**
 * Make the list.
 * @param {() => void} leave called when a link leads away
 * @returns {{element: HTMLElement, refresh: () => void}}
 */
export function makeLog(leave) {
  const rule = h("select.field", { "aria-label": t("alerts.log.rule"), onchange: () => refresh() });
  const symbol = h("input.field", {
    type: "search", placeholder: t("alerts.log.symbol"), "aria-label": t("alerts.log.symbol"), spellcheck: "false",
    autocomplete: "off", oninput: () => refresh(),
  });
  const count = h("span.muted");
  const list = h("ol.log");
  const element = h("div.log-page", {}, h("div.log-bar", {}, rule, symbol, count), list);
  let before = "";

  function refresh() {
    drawRules();
    const wanted = symbol.value.trim().toUpperCase();
    const found = book.log.filter((one) => (!rule.value || one.rule === rule.value) && one.symbol.toUpperCase().includes(wanted));
    count.textContent = t(book.log.length >= MOST ? "alerts.log.count.most" : "alerts.log.count", { n: found.length, most: MOST });
    const shown = found.slice(0, MOST_DRAWN);
    // Nothing is drawn anew under the reader's hand unless it says something else.
    const now = JSON.stringify(shown);
    if (now === before && list.children.length) return;
    before = now;
    fill(list, shown.length ? shown.map((one) => row(one, leave)) : h("li.blank-line.muted", {}, t(blankKey())));
  }

  function blankKey() {
    if (!book.known && !book.failure) return "alerts.loading";
    return book.log.length ? "alerts.log.none" : "alerts.log.empty";
  }

  function drawRules() {
    const names = [...new Set([...book.rules.map((one) => one.name), ...book.log.map((one) => one.rule)])].sort();
    const known = [...rule.options].map((one) => one.value).join("\n");
    if (rule.options.length && known === ["", ...names].join("\n")) return;
    const now = rule.value;
    fill(rule, h("option", { value: "" }, t("alerts.log.all")), names.map((name) => h("option", { value: name }, name)));
    rule.value = names.includes(now) ? now : "";
  }

  return { element, refresh };
}

function row(alert, leave) {
  const decimals = market.symbols[market.rows.get(alert.symbol)]?.price_decimals ?? 2;
  const there = { view: "symbol", symbol: alert.symbol, tf: alert.timeframe, at: alert.time };
  const link = pageLink("a", there, { before: leave, props: { title: t("alerts.log.open") } }, alert.symbol);
  const number = (name, text) => h("span", {}, name, " ", text);
  const numbers = Object.entries(alert.columns ?? {}).map(([name, value]) => number(h("span.mono", {}, name), formatNumber(value)));
  if (Number.isFinite(alert.score)) numbers.push(number(t("symbol.figure.score"), formatNumber(alert.score, "signed")));
  numbers.push(...reasons(alert).map(([name, points]) => number(partName(name), formatNumber(points, "signed"))));
  return h("li.log-row", {},
    h("div.log-head", {},
      h("time", { datetime: new Date(alert.time).toISOString() }, formatTime(alert.time, "exact")),
      link, h("span.log-rule", {}, alert.rule), h("span.muted", {}, alert.timeframe), sideWord(alert.side),
      alert.forming && h("span.tag", {}, t("alerts.log.forming")), alert.stale && h("span.tag.fired", {}, t("alerts.log.stale")),
      h("span.log-price", {}, formatPrice(alert.price, decimals), " ", toned(alert.change, formatNumber(alert.change, "percent")))),
    h("div.log-numbers.muted", {}, numbers),
    (alert.deliveries ?? []).length > 0 && h("ul.deliveries", {}, alert.deliveries.map(delivery)));
}

/** What moved the score most. */
function reasons(alert) {
  return Object.entries(alert.contributions ?? {}).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, MOST_REASONS);
}

function delivery({ target, state: became, attempts, detail, time }) {
  const often = attempts > 1 ? ` · ${t("alerts.delivery.attempts", { attempts })}` : "";
  return h(`li.delivery.${became}`, { title: formatTime(time, "exact") + often },
    h("b", {}, target), " ", h("span", {}, t(`alerts.delivery.${became}`)), detail && h("span.detail", {}, detail));
}
