/** What is said in place of rows, and above them: what is going on, and what the reader can do about it. */

import { chooseColumns } from "./chosen.js";
import { button, fill, h } from "./dom.js";
import { formatSpan, formatTime, onLanguage, t } from "./i18n.js";
import { clearLists } from "./lists.js";
import { live } from "./live.js";
import { market } from "./market.js";
import { state } from "./state.js";

function message(title, text, ...actions) {
  return h("div.blank", { role: "status" }, h("h2", {}, title), text && h("p", {}, text), h("div.actions", {}, actions));
}

function retry() {
  return button({ label: t("notice.retry"), text: t("notice.retry"), class: "framed" }, () => live.retry());
}

/** What keeps the first values from being here, nothing where only they are awaited. */
function waiting() {
  const { state: line } = live.status();
  if (line === "warming") return message(t("notice.warming"), t("notice.warming.text"));
  if (line === "refused") return message(t("notice.refused"), t("notice.refused.text"));
  if (line === "lost") return message(t("notice.away"), t("notice.away.text", { address: location.host }), retry());
  return null;
}

/**
 * Say why there are no rows.
 * @param {{rows: number[], hits: number}} order
 * @returns {HTMLElement|null} null where there are some
 */
export function blank(order) {
  if (market.failed && !market.bar) return message(t("notice.failed"), market.failed, button({ label: t("notice.reset"), text: t("notice.reset"), class: "framed" }, reset));
  if (!market.bar) return waiting() ?? skeleton();
  if (order.rows.length) return null;
  if (!market.symbols.length) return message(t("notice.nobody"), t("notice.nobody.text"));
  if (!order.hits) return message(t("notice.none"), t("notice.none.text"), button({ label: t("filter.clear"), text: t("filter.clear"), class: "framed" }, () => state.set({ where: "" })));
  const key = state.get("only") === "watch" ? "notice.watch" : "notice.lists";
  return message(t(key), t(`${key}.text`), button({ label: t("lists.all"), text: t("lists.all"), class: "framed" }, clearLists));
}

function reset() {
  chooseColumns(null);
  state.set({ where: null, preset: "", sort: null });
}

function skeleton() {
  return h("div.skeleton", { role: "status" }, h("span.aloud", {}, t("notice.loading")), Array.from({ length: 24 }, () => h("i")));
}

/** What is said above every view while something is not as usual. */
function banners() {
  const said = [];
  const { state: line, since, retry: next, message: told } = live.status();
  if (market.bar && line !== "open") {
    const left = next ? t("notice.next", { span: formatSpan(next - Date.now()) }) : t("notice.trying");
    const text = line === "warming" ? t("notice.warming") : t("notice.lost", { span: formatSpan(Date.now() - since), time: formatTime(market.time) });
    said.push(["bad", `${text} ${told ? `(${told}) ` : ""}${left}`, retry()]);
  }
  if (market.failed && market.bar) said.push(["bad", t("notice.failed.values", { message: market.failed }), null]);
  if (market.errors.where) {
    const clear = button({ label: t("filter.clear"), text: t("filter.clear"), class: "framed" }, () => state.set({ where: "" }));
    said.push(["bad", t("notice.filter", { message: market.errors.where.message }), clear]);
  }
  if (state.get("at")) {
    const back = button({ label: t("notice.now"), text: t("notice.now"), class: "framed" }, () => state.set({ at: 0 }, { push: true }));
    said.push(["past", t("notice.past", { time: formatTime(state.get("at"), "exact") }), back]);
  }
  return said;
}

/**
 * Keep the lines above the views up to date.
 * @param {HTMLElement} place
 */
export function mountNotices(place) {
  let before = "";
  const draw = () => {
    const said = banners();
    const now = JSON.stringify(said.map(([kind, text]) => [kind, text]));
    if (now === before) return;
    before = now;
    const focused = place.contains(document.activeElement);
    fill(place, said.map(([kind, text, act]) => h(`div.banner.${kind}`, {}, h("span", {}, text), act)));
    if (focused) place.querySelector("button")?.focus();
  };
  live.on("status", draw);
  for (const kind of ["table", "view", "failed", "asked"]) market.subscribe(kind, draw);
  state.subscribe(draw);
  onLanguage(() => ((before = ""), draw()));
  setInterval(draw, 1_000);
  draw();
}
