/** The strip at the foot: whether what is shown can be relied on, and why not. */

import { button, fill, h, popover } from "./dom.js";
import { nextFrame } from "./frame.js";
import { formatNumber, formatSpan, formatTime, onLanguage, t, tOr, zone } from "./i18n.js";
import { live } from "./live.js";
import { market } from "./market.js";

const LINES = ["connecting", "open", "warming", "lost", "refused"];

function seconds(value) {
  return value === null || value === undefined ? "–" : `${value.toFixed(value < 10 ? 2 : 0)} ${t("unit.s")}`;
}

/** How good or bad something is: nothing, warn or bad. */
function grade(bad, warn) {
  if (bad) return "bad";
  return warn ? "warn" : "";
}

function reasons(health) {
  return Object.entries(health.reasons ?? {}).map(([reason, count]) => `${tOr(`stale.${reason}`, reason)}: ${count}`).join("; ");
}

/** Everything the strip says: key, text, explanation, and how bad it is. */
function facts(health) {
  const { lag, weight, sockets, rest } = health;
  const banned = rest && !rest.open;
  const left = banned && rest.until > health.time ? formatSpan(rest.until - health.time) : "";
  const used = weight.limit ? weight.used / weight.limit : 0;
  const down = sockets.all - sockets.up;
  return [
    ["fresh", t("health.fresh", { fresh: health.fresh, all: health.symbols }), reasons(health) || t("health.fresh.title"), grade(health.fresh < health.symbols * 0.9, false)],
    health.stale > 0 && ["stale", t("health.stale", { n: health.stale, count: health.stale }), reasons(health), "warn"],
    ["lag", t("health.lag", { p50: seconds(lag.p50), p99: seconds(lag.p99) }), t("health.lag.title", { count: lag.count }), grade(lag.p99 > 10, lag.p99 > 3)],
    ["gaps", t("health.gaps", { n: health.gaps, count: formatNumber(health.gaps, "whole") }), t("health.gaps.title"), grade(false, health.gaps > 0)],
    ["weight", weight.limit ? t("health.weight", { used: weight.used, limit: weight.limit }) : t("health.weight.free", { used: weight.used }), t("health.weight.title"), grade(used > 0.9, used > 0.8)],
    banned && ["ban", left ? t("health.ban", { span: left }) : t("health.ban.open"), rest.why, "bad"],
    ["sockets", t("health.sockets", { up: sockets.up, all: sockets.all }), sockets.loss || t("health.sockets.title", { count: sockets.reconnects }), grade(sockets.up === 0 && sockets.all > 0, down > 0)],
    ["reconnect", sockets.last_reconnect ? t("health.reconnect", { span: formatSpan(health.time - sockets.last_reconnect) }) : t("health.reconnect.none"), sockets.last_reconnect ? formatTime(sockets.last_reconnect, "exact") : "", ""],
    health.store_fault && ["store", t("health.store"), health.store_fault, "bad"],
  ].filter(Boolean);
}

/**
 * Keep the strip up to date.
 * @param {HTMLElement} place
 */
export function mountHealth(place) {
  const dot = h("i.dot", { "aria-hidden": "true" });
  const line = h("span");
  const state = h("span.line", { role: "status" }, dot, line);
  const clock = h("span.clock");
  const list = h("ul");
  const more = button({ label: "", icon: "more", class: "quiet fold" }, openAll);
  fill(place, state, clock, list, more);

  function openAll() {
    popover(more, h("ul.facts", {}, market.health && facts(market.health).map(([, text, title, bad]) =>
      h("li", {}, h("span", { class: bad }, text), h("small.muted", {}, title)))), { label: t("health.label") });
  }

  function draw() {
    const { state: now } = live.status();
    place.setAttribute("aria-label", t("health.label"));
    more.setAttribute("aria-label", t("health.label"));
    dot.className = `dot ${now === "open" ? (market.paused ? "warn" : "good") : now === "connecting" ? "warn" : "bad"}`;
    const said = t(market.paused && now === "open" ? "health.paused" : `health.line.${LINES.includes(now) ? now : "lost"}`);
    if (line.textContent !== said) line.textContent = said;
    const rate = market.hello?.rate ?? 1;
    clock.textContent = market.time ? `${formatTime(market.time)} ${zone()}${rate === 1 ? "" : ` · ${t("health.rate", { rate: formatNumber(rate, "plain") })}`}` : "";
    clock.title = t("health.clock");
    write(market.health ? facts(market.health) : []);
  }

  /** Items that are there are written anew; only others are made. */
  function write(all) {
    const names = all.map(([name]) => name).join();
    if (list.dataset.names !== names) {
      list.dataset.names = names;
      fill(list, all.map(([name]) => h("li", { data: { name } })));
    }
    all.forEach(([, text, title, bad], i) => {
      const item = list.children[i];
      if (item.textContent !== text) item.textContent = text;
      if (item.title !== title) item.title = title;
      if (item.className !== bad) item.className = bad;
    });
  }

  const soon = () => nextFrame(draw);
  live.on("status", soon);
  for (const kind of ["hello", "health", "held", "prices"]) market.subscribe(kind, soon);
  onLanguage(draw);
  draw();
}
