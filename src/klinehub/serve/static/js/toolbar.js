/** What stands above the table: search, filter, screens, columns, lists, pause, export. */

import { newRule } from "./alerts.js";
import { choosePreset, preset, where } from "./chosen.js";
import { button, fill, h, icon, popover } from "./dom.js";
import { openExport } from "./export.js";
import { makeFilter } from "./filter.js";
import { formatNumber, t, tOr } from "./i18n.js";
import { bind } from "./keys.js";
import { kinds, toggleKind } from "./lists.js";
import { market } from "./market.js";
import { order } from "./order.js";
import { personal } from "./personal.js";
import { openPicker } from "./picker.js";
import { timeframe } from "./shell.js";
import { state } from "./state.js";

/** More updates that wait are not counted, so that the button stays as wide as it is. */
const MOST = 999;

/** What a screen of the hub is called. */
function screenName(one) {
  if (!one || one.kind === "score") return t("screens.all");
  return one.kind === "preset" ? tOr(`preset.${one.name}`, one.name) : one.name;
}

/**
 * Make the bar.
 * @param {{rows: () => number[], columns: () => import("./columns.js").Column[]}} table what is shown, for the export
 */
export function makeToolbar(table) {
  const find = h("input.field.find", { type: "search", "aria-label": t("find.label"), placeholder: t("find.label"), value: state.get("find"), spellcheck: "false", autocomplete: "off" });
  const filter = makeFilter();
  const screens = h("button.button.framed.screens", { type: "button", "aria-haspopup": "menu" });
  const columns = button({ label: t("columns.title"), text: t("columns.title"), icon: "columns", "aria-haspopup": "dialog" }, () => openPicker());
  const watch = button({ label: t("lists.watch"), text: t("lists.watch"), icon: "star", "aria-pressed": "false" }, toggleOnly);
  const lists = h("button.button.lists", { type: "button", "aria-haspopup": "dialog", onclick: () => openLists() });
  const forming = button({ label: t("forming.title"), text: t("forming.label"), icon: "pulse" }, () => state.set({ forming: !state.get("forming") }));
  const pause = h("button.button.pause", { type: "button", onclick: () => market.hold(!market.paused) });
  const alert = button({ label: t("alerts.from"), text: t("alerts.from"), icon: "bell" }, () => newRule({ where: where(), timeframe: timeframe() }));
  const save = button({ label: t("export.title"), text: t("export.title"), icon: "download", "aria-haspopup": "menu" }, () => openExport(save, table));
  const counted = h("span.count", { role: "status" });
  const tools = h("div.tools", { id: "tools" }, screens, columns, watch, lists, forming, alert, save, pause);
  const fold = button({ label: t("tools.open"), icon: "sliders", class: "framed fold", "aria-expanded": "false", "aria-controls": "tools" }, toggleFold);
  const element = h("div.toolbar", { role: "search", "aria-label": t("tools.label") }, find, filter.element, counted, tools, fold);

  function toggleOnly() {
    state.set({ only: state.get("only") === "watch" ? "" : "watch" });
  }

  function toggleFold() {
    const open = element.classList.toggle("unfolded");
    fold.setAttribute("aria-expanded", String(open));
  }

  function drawScreens() {
    fill(screens, h("span.label", {}, screenName(preset())), icon("down"));
    screens.setAttribute("aria-label", `${t("screens.title")}: ${screenName(preset())}`);
  }

  function openScreens() {
    const all = market.hello?.presets ?? [];
    const choose = (name) => (list.close(true), choosePreset(name));
    const entry = (name, one) => h("button.button", { type: "button", "aria-pressed": String(state.get("preset") === name), title: one?.where, onclick: () => choose(name) },
      screenName(one), one?.where && h("span.note.mono", {}, one.where.length > 48 ? `${one.where.slice(0, 47)}…` : one.where));
    const list = popover(screens, h("div.menu", {}, h("h3", {}, t("screens.title")), entry("", undefined),
      all.filter((one) => one.kind !== "score").map((one) => entry(one.name, one))), { label: t("screens.title") });
  }

  function openLists() {
    const body = h("div.kinds");
    const draw = () => fill(body, [...kinds()].filter(([, of]) => of.size).map(([group, of]) => h("fieldset", {},
      h("legend", {}, t(`kinds.${group}`)), [...of].sort((a, b) => b[1] - a[1]).map(([kind, count]) => chip(group, kind, count)))), only());
    const chip = (group, kind, count) => h("button.button.chip", {
      type: "button", "aria-pressed": String(state.get("cat").includes(`${group}:${kind}`)),
      onclick: () => (toggleKind(group, kind), draw(), body.querySelector(`[data-kind="${CSS.escape(`${group}:${kind}`)}"]`)?.focus()),
      data: { kind: `${group}:${kind}` },
    }, tOr(`kind.${kind}`, kind), h("span.muted", {}, count));
    const hidden = personal.get("hidden", []).length;
    const only = () => h("div.actions", {},
      hidden > 0 && h("button.button", { type: "button", "aria-pressed": String(state.get("only") === "hidden"), onclick: () => (state.set({ only: state.get("only") === "hidden" ? "" : "hidden" }), draw()) }, t("lists.hidden", { count: hidden })),
      h("button.button.framed", { type: "button", onclick: () => (state.set({ cat: [] }), draw()) }, t("lists.clear")));
    draw();
    popover(lists, body, { label: t("lists.title"), class: "wide" });
  }

  /** Where there is little room the filter is only shown when there is one, or when it is asked for. */
  function drawFilter() {
    element.classList.toggle("filtered", where() !== "");
  }

  function drawLists() {
    const chosen = state.get("cat").length + (state.get("only") === "hidden" ? 1 : 0);
    fill(lists, icon("funnel"), h("span.label", {}, t("lists.title")), chosen > 0 && h("span.number", {}, chosen));
    lists.setAttribute("aria-label", chosen ? t("lists.chosen", { count: chosen }) : t("lists.title"));
    watch.setAttribute("aria-pressed", String(state.get("only") === "watch"));
    forming.setAttribute("aria-pressed", String(state.get("forming")));
  }

  function drawPause() {
    const on = market.paused;
    fill(pause, icon(on ? "play" : "pause"), h("span.label", {}, on ? t("pause.on", { count: market.waiting > MOST ? `${MOST}+` : market.waiting }) : t("pause.off")));
    pause.setAttribute("aria-pressed", String(on));
    pause.title = t(on ? "pause.on.title" : "pause.off.title");
  }

  screens.addEventListener("click", openScreens);
  find.addEventListener("input", () => state.set({ find: find.value }));
  find.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && find.value) event.stopPropagation();
    if (event.key === "Escape") state.set({ find: (find.value = "") });
    if (event.key === "Escape" || event.key === "Enter") find.blur();
  });
  const ends = [
    market.subscribe("hello", drawScreens),
    market.subscribe("waiting", drawPause),
    bind("/", { label: "keys.filter", group: "keys.table", act: () => filter.focus() }),
    bind("f", { label: "keys.find", group: "keys.table", act: () => find.focus() }),
    ...filter.ends,
  ];
  drawScreens();
  drawFilter();
  drawLists();
  drawPause();

  return {
    element,
    ends,
    paused: drawPause,

    /** Say how many rows there are. */
    count() {
      const [shown, all] = [order.rows.length, market.symbols.length].map((size) => formatNumber(size, "whole"));
      counted.textContent = market.bar ? t("table.count", { shown, all }) : "";
      filter.count(market.passes ? order.hits : null);
    },

    /** Show what the address has now. */
    refresh() {
      drawScreens();
      drawFilter();
      drawLists();
      filter.refresh();
      if (document.activeElement !== find) find.value = state.get("find");
    },
  };
}
