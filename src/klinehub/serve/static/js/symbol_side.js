/** Beside the chart of a symbol: what its score is made of, its factors, its alerts, and its newest bars as a table. */

import { newRule } from "./alerts.js";
import { getJson } from "./api.js";
import { factorOf, factors, titleOf } from "./catalogue.js";
import { where } from "./chosen.js";
import { button, fill, h } from "./dom.js";
import { formatNumber, formatPrice, formatTime, t } from "./i18n.js";
import { market } from "./market.js";
import { pageLink, sideWord, textButton } from "./pieces.js";
import { chosenPanes, factorColumns, MOST_PANES, togglePane } from "./subject.js";
import { breakdown } from "./why.js";

const MOST_ALERTS = 12;
const MOST_BARS = 12;

/** The column beside the chart. */
export class SymbolSide {
  #symbol = "";
  #newest = new Map();

  constructor() {
    this.score = h("div", {});
    this.list = h("ul.factors", {});
    this.fired = h("ul.fired-list", {});
    this.rows = h("tbody", {});
    this.bars = bars(this.rows);
    this.input = h("input.field.mono", {
      list: "factor-names", placeholder: t("symbol.add.hint"), "aria-label": t("symbol.add"), maxlength: "200",
      spellcheck: "false", autocomplete: "off",
    });
    this.wrong = h("p.bad", { role: "alert" });
    this.names = h("datalist", { id: "factor-names" });
    const form = h("form.add-factor", { onsubmit: (event) => (event.preventDefault(), this.#add()) },
      this.input, button({ label: t("symbol.add"), icon: "plus", class: "framed" }, () => this.#add()), this.names);
    const alert = textButton("symbol.alerts.new", () => newRule({ symbols: [this.#symbol], where: where() }), { icon: "bell" });
    this.element = h("aside.symbol-side", { "aria-label": t("symbol.side") },
      section("symbol.score", this.score), section("symbol.factors", this.list, form, this.wrong),
      market.hello?.can.alerts === false ? null : section("symbol.alerts", this.fired, alert), this.bars);
    this.#load();
  }

  /** @param {string} symbol */
  show(symbol) {
    this.#symbol = symbol;
    this.#newest.clear();
    this.update();
    fill(this.rows);
  }

  /** @param {string[]} panes those that are shown */
  choose(panes) {
    const all = [...new Set([...factorColumns(), ...panes])];
    const full = panes.length >= MOST_PANES;
    fill(this.list, all.map((name) => {
      const on = panes.includes(name);
      const label = t(on ? "symbol.pane.remove" : "symbol.pane.show", { name });
      const props = { type: "button", "aria-pressed": String(on), title: label, disabled: full && !on };
      const toggle = h("button.factor", { ...props, onclick: () => togglePane(name) },
        h("span.mono", {}, name), h("span.value", { data: { name } }, "–"), h("span.unit", {}, factorOf(name)?.unit));
      return h("li", {}, toggle);
    }));
    this.#write();
  }

  /** @param {string} name @param {number|null|undefined} value the newest one of a pane */
  values(name, value) {
    this.#newest.set(name, value);
    this.#write();
  }

  /** @param {any[]} alerts newest first */
  alerts(alerts) {
    fill(this.fired, alerts.length ? alerts.slice(0, MOST_ALERTS).map(alertRow) : h("li.muted", {}, t("symbol.alerts.none")));
  }

  /** Write what a close changes. */
  update() {
    const row = market.rows.get(this.#symbol);
    fill(this.score, row === undefined ? h("p.muted", {}, t("why.none")) : breakdown(row));
    this.#write();
  }

  /**
   * Write the newest bars, while somebody has them open.
   * @param {import("./symbol_data.js").SymbolData|null} data
   */
  write(data) {
    if (!this.bars.open) return;
    const decimals = market.symbols[market.rows.get(this.#symbol)]?.price_decimals ?? 2;
    fill(this.rows, (data?.bars ?? []).slice(-MOST_BARS).reverse().map((bar) => barRow(bar, decimals)));
  }

  #write() {
    const row = market.rows.get(this.#symbol);
    for (const cell of this.list.querySelectorAll(".value")) {
      const known = market.values[cell.dataset.name]?.[row];
      cell.textContent = formatNumber(known ?? this.#newest.get(cell.dataset.name));
    }
  }

  async #load() {
    const known = await factors().catch(() => new Map());
    fill(this.names, [...known.values()].map((one) => h("option", { value: one.name }, titleOf(one))));
    this.choose(chosenPanes());
  }

  async #add() {
    const name = this.input.value.trim();
    if (!name) return;
    const told = await getJson("api/v1/check", { column: name }).catch((error) => ({ ok: false, message: error.message }));
    this.wrong.textContent = told.ok ? "" : told.message;
    if (!told.ok) return;
    this.input.value = "";
    if (!chosenPanes().includes(name)) togglePane(name);
  }
}

function section(title, ...body) {
  return h("section", {}, h("h2", {}, t(title)), body);
}

function bars(rows) {
  const heads = ["time", "open", "high", "low", "close", "volume"];
  return h("details.bars", {}, h("summary", {}, t("symbol.bars")),
    h("table", {}, h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, t(`symbol.bars.${name}`))))), rows));
}

function barRow(bar, decimals) {
  const price = (value) => h("td", {}, formatPrice(value, decimals));
  return h(`tr${bar.forming ? ".forming" : ""}`, {}, h("th", { scope: "row" }, formatTime(bar.open_time, "minute")),
    price(bar.open), price(bar.high), price(bar.low), price(bar.close), h("td", {}, formatNumber(bar.volume, "compact")));
}

function alertRow(alert) {
  const when = pageLink("a", { at: alert.time, tf: alert.timeframe }, {}, formatTime(alert.time, "full"));
  return h("li", {}, when, h("span.rule-name", {}, alert.rule), sideWord(alert.side));
}
