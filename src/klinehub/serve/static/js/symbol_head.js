/** The head of a symbol's page: its name and state, its numbers now, and where one goes from here. */

import { marksOf } from "./cells.js";
import { button, fill, h, icon, tell } from "./dom.js";
import { formatNumber, formatPrice, t } from "./i18n.js";
import { market } from "./market.js";
import { personal } from "./personal.js";
import { pageLink, tone } from "./pieces.js";
import { copy, exchangePage, toggleRowWatch } from "./rowmenu.js";
import { timeframe } from "./shell.js";
import { state } from "./state.js";

/** The head of the page. */
export class SymbolHead {
  #symbol = "";
  #figures = {};

  /** @param {(step: number) => void} go leads to the symbol so many places further in the table */
  constructor(go) {
    const step = (by, label, drawn) => button({ label: t(label), icon: drawn, class: "quiet" }, () => go(by));
    const props = { "aria-label": t("symbol.back"), title: t("symbol.back") };
    this.back = pageLink("a.button.quiet", { view: "table", symbol: "" }, { props }, icon("back"));
    this.name = h("h1", {});
    this.badges = h("div.badges", {});
    const watch = () => (toggleRowWatch(this.#symbol), this.#drawStar());
    this.star = button({ label: t("symbol.watch"), icon: "star", class: "quiet" }, watch);
    this.links = h("div.symbol-links", {});
    const names = ["price", "change", "day", "turnover", "score"];
    this.#figures = Object.fromEntries(names.map((name) => [name, h("dd", {}, "–")]));
    const label = (name) => t(`symbol.figure.${name}`, { tf: timeframe() });
    this.labels = Object.fromEntries(names.map((name) => [name, h("dt", {}, label(name))]));
    this.element = h("header.symbol-head", {},
      h("div.symbol-title", {}, this.back, step(-1, "symbol.previous", "left"), step(1, "symbol.next", "right"),
        this.name, this.star, this.badges),
      h("dl.figures", {}, names.map((name) => h(`div.figure-${name}`, {}, this.labels[name], this.#figures[name]))),
      this.links);
  }

  /**
   * Be about another symbol.
   * @param {string} symbol
   */
  show(symbol) {
    this.#symbol = symbol;
    const listed = market.symbols[market.rows.get(symbol)];
    fill(this.name, listed ? [h("span", {}, listed.base), h("span.quote", {}, `/${listed.quote}`)] : symbol);
    this.name.title = listed?.pair ?? symbol;
    this.labels.change.textContent = t("symbol.figure.change", { tf: timeframe() });
    this.#drawStar();
    this.#drawLinks(listed);
    this.update(null);
  }

  /**
   * Write the numbers of now, or those of the moment.
   * @param {import("./symbol_data.js").SymbolData|null} data
   */
  update(data) {
    const row = market.rows.get(this.#symbol);
    const listed = market.symbols[row];
    const { price, change, day, turnover, score } = this.#numbers(row, data);
    const figures = this.#figures;
    figures.price.textContent = formatPrice(price, listed?.price_decimals ?? 2);
    signed(figures.change, change, formatNumber(change, "percent"));
    signed(figures.day, day, formatNumber(day, "percent"));
    figures.turnover.textContent = formatNumber(turnover, "compact");
    signed(figures.score, score, formatNumber(score, "signed"));
    fill(this.badges, badgesOf(row, data));
  }

  #numbers(row, data) {
    if (row === undefined) return {};
    const of = (array) => array[row];
    const score = of(market.score);
    if (state.get("at")) return { price: data?.bars.at(-1)?.close, change: of(market.barChange), ...dayOf(data), score };
    return { price: of(market.price), change: of(market.change), day: of(market.day), turnover: of(market.turnover), score };
  }

  #drawStar() {
    const on = personal.get("watch", []).includes(this.#symbol);
    this.star.setAttribute("aria-pressed", String(on));
    this.star.classList.toggle("on", on);
  }

  #drawLinks(listed) {
    const out = listed && exchangePage(listed);
    const title = t("symbol.exchange");
    fill(this.links,
      button({ label: t("symbol.copy"), icon: "copy", class: "quiet" }, copyLink),
      out && h("a.button.quiet", { href: out, target: "_blank", rel: "noreferrer noopener", title }, icon("link"), h("span.label", {}, title)));
  }
}

async function copyLink() {
  await copy(location.href);
  // A secret path is part of the address: whoever gets the link gets in.
  if (location.pathname.includes("/c/")) tell(t("symbol.copied.secret"));
}

function signed(element, value, text) {
  element.textContent = text;
  element.className = tone(value);
}

/** What 24 hours were at a past moment, as far as the bars at hand reach. */
function dayOf(data) {
  const last = data?.bars.at(-1);
  if (!last) return {};
  const from = last.close_time - 86_400_000;
  const first = data.bars.findIndex((bar) => bar.open_time > from);
  if (first < 1) return {};
  const bars = data.bars.slice(first);
  return { day: (last.close / bars[0].open - 1) * 100, turnover: bars.reduce((sum, bar) => sum + bar.quote_volume, 0) };
}

/** Say what is out of the ordinary; what the badge of the table keeps for a pointer stands here in words. */
function badgesOf(row, data) {
  const marks = row === undefined ? [] : marksOf(row);
  const told = !market.stale.has(row) && !state.get("at") && data?.stale;
  if (told) marks.push({ kind: "old", text: told, title: told });
  return marks.map(({ kind, text, title }) => h(`span.badge.${kind}`, { title }, text || title));
}
