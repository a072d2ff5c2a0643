/** The frame of the page: name, views, timeframes, and the buttons that are there in every view. */

import { button, fill, h, icon, popover } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { bind, showKeys } from "./keys.js";
import { market } from "./market.js";
import { showSettings } from "./settings.js";
import { state } from "./state.js";
import { choose, isDark, onColours } from "./theme.js";
import { VIEWS } from "./views.js";

const brand = h("a.brand", { href: "?" });
const tabs = h("nav.choices.tabs");
const frames = h("div.choices.frames", { role: "group" });
const frameList = h("button.button.framed.frame-list", { type: "button", "aria-haspopup": "menu" });
const corner = h("div.corner");
const tools = h("div.corner");

/** @returns {string} the timeframe that is looked at */
export function timeframe() {
  return state.get("tf") || market.hello?.default || "";
}

/**
 * Look at another timeframe.
 * @param {string} name
 */
export function chooseTimeframe(name) {
  state.set({ tf: name === market.hello?.default ? "" : name });
}

function nextTimeframe(step) {
  const all = market.hello?.timeframes ?? [];
  if (all.length) chooseTimeframe(all[(all.indexOf(timeframe()) + step + all.length) % all.length]);
}

function drawBrand() {
  const exchange = market.hello?.exchange ?? "";
  fill(brand, icon("layers"), h("span", {}, "klinehub"), exchange && h("span.exchange", {}, exchange));
  brand.setAttribute("aria-label", t("shell.home"));
}

function drawTabs() {
  tabs.setAttribute("aria-label", t("shell.views"));
  fill(tabs, Object.entries(VIEWS).filter(([, view]) => view.tab).map(([name, view]) => {
    const here = state.get("view") === name;
    const go = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      state.set({ view: name }, { push: true });
    };
    return h("a.button", { href: state.href({ view: name }), "aria-current": here && "page", onclick: go }, t(view.title));
  }));
  tabs.hidden = tabs.children.length < 2;
}

function drawFrames() {
  const now = timeframe();
  const all = market.hello?.timeframes ?? [];
  frames.setAttribute("aria-label", t("shell.timeframe"));
  fill(frames, all.map((name) =>
    h("button.button", { type: "button", "aria-pressed": String(name === now), onclick: () => chooseTimeframe(name) }, name)));
  fill(frameList, now || "–", icon("down"));
  frameList.setAttribute("aria-label", `${t("shell.timeframe")} ${now}`);
}

function openFrames() {
  const list = popover(frameList, h("div.menu", {}, (market.hello?.timeframes ?? []).map((name) =>
    h("button.button", { type: "button", "aria-pressed": String(name === timeframe()), onclick: () => (list.close(true), chooseTimeframe(name)) }, name))),
  { label: t("shell.timeframe") });
}

function drawTools() {
  const dark = isDark();
  fill(tools,
    button({ label: t(dark ? "shell.light" : "shell.dark"), icon: dark ? "sun" : "moon", class: "quiet" },
      () => choose("theme", dark ? "light" : "dark")),
    button({ label: t("shell.settings"), icon: "sliders", class: "quiet" }, showSettings),
    button({ label: t("keys.title"), icon: "help", class: "quiet" }, showKeys));
}

function drawAll() {
  drawBrand();
  drawTabs();
  drawFrames();
  drawTools();
}

/**
 * Make the frame.
 * @param {HTMLElement} place
 * @returns {HTMLElement} the corner where other buttons go
 */
export function mountShell(place) {
  frameList.addEventListener("click", openFrames);
  fill(place, brand, tabs, frames, frameList, h("div.grow"), corner, tools);
  drawAll();
  onLanguage(drawAll);
  onColours(drawTools);
  market.subscribe("hello", () => (drawBrand(), drawFrames()));
  state.subscribe((names) => {
    if (names.has("tf")) drawFrames();
    drawTabs();
  });
  bind("t", { label: "keys.timeframe", act: () => nextTimeframe(1) });
  bind("T", { label: "keys.timeframe.back", act: () => nextTimeframe(-1) });
  return corner;
}
