/** The dialog of columns: sets, the catalogue with a search, any expression, and the order of those shown. */

import { getJson } from "./api.js";
import { factors, titleOf } from "./catalogue.js";
import { chooseColumns, columns, moveColumn, SETS, togglePin, wholeSet } from "./chosen.js";
import { columnOf, OWN } from "./columns.js";
import { button, dialog, fill, h } from "./dom.js";
import { t, tOr } from "./i18n.js";
import { personal } from "./personal.js";
import { state } from "./state.js";

const PAUSE = 200;

/** Open the dialog. */
export async function openPicker() {
  const shown = h("ol.shown", { "aria-label": t("columns.shown") });
  const found = h("div.found");
  const sets = h("div.sets");
  const search = h("input.field", { type: "search", placeholder: t("columns.search"), "aria-label": t("columns.search"), autofocus: true, autocomplete: "off", spellcheck: "false" });
  const said = h("p.said", { role: "status", hidden: true });
  let known = new Map();
  let timer = 0;

  function draw() {
    drawShown();
    drawSets();
    drawFound();
  }

  function drawShown() {
    const keys = columns();
    const focused = document.activeElement?.dataset?.focus;
    fill(shown, keys.map((key, at) => item(key, at, keys)));
    if (focused) shown.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  function item(key, at, keys) {
    const { title, hint, error } = columnOf(key);
    const small = (label, drawn, act, more = {}) => button({ label: t(label, { column: title }), icon: drawn, class: "quiet", data: { focus: `${label} ${key}` }, ...more }, act);
    const element = h("li", { draggable: "true", data: { key }, title: error ?? hint },
      h("span.name", { class: error ? "bad" : "" }, title),
      small("columns.up", "left", () => change(() => moveColumn(key, at - 1)), { disabled: at === 0, class: "quiet turn" }),
      small("columns.down", "right", () => change(() => moveColumn(key, at + 1)), { disabled: at === keys.length - 1, class: "quiet turn" }),
      small("columns.pin", "pin", () => change(() => togglePin(key)), { "aria-pressed": String(state.get("pin").includes(key)) }),
      small("columns.remove", "close", () => change(() => chooseColumns(keys.filter((one) => one !== key)))));
    element.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", key));
    element.addEventListener("dragover", (event) => event.preventDefault());
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      change(() => moveColumn(event.dataTransfer.getData("text/plain"), at));
    });
    return element;
  }

  function change(work) {
    work();
    draw();
  }

  function drawSets() {
    const own = personal.get("sets", {});
    const use = (keys) => change(() => chooseColumns(keys));
    const ready = Object.entries(SETS).map(([name, keys]) => [name, keys.filter(isKnown)]).filter(([, keys]) => keys.length);
    fill(sets,
      button({ label: t("columns.usual"), text: t("columns.usual"), class: "chip" }, () => use(null)),
      ready.map(([name, keys]) => button({ label: t(`set.${name}`), text: t(`set.${name}`), class: "chip" }, () => use(wholeSet(keys)))),
      Object.entries(own).map(([name, keys]) => h("span.own", {},
        button({ label: name, text: name, class: "chip" }, () => use(keys)),
        button({ label: t("columns.forget", { name }), icon: "close", class: "quiet" }, () => change(() => forget(name))))),
      button({ label: t("columns.keep"), text: t("columns.keep"), icon: "plus", class: "quiet" }, keep));
  }

  function isKnown(key) {
    return known.has(key.replace(/\(.*$/, ""));
  }

  function keep() {
    const name = prompt(t("columns.name"))?.trim().slice(0, 40);
    if (name) change(() => personal.set("sets", { ...personal.get("sets", {}), [name]: columns() }));
  }

  function forget(name) {
    const { [name]: _, ...rest } = personal.get("sets", {});
    personal.set("sets", rest);
  }

  function toggle(key) {
    const keys = columns();
    change(() => chooseColumns(keys.includes(key) ? keys.filter((one) => one !== key) : [...keys, key]));
  }

  function drawFound() {
    const text = search.value.trim().toLowerCase();
    const here = new Set(columns());
    const groups = new Map([["own", OWN.map((key) => ({ key, title: columnOf(key).title, note: columnOf(key).hint }))]]);
    for (const one of known.values()) {
      if (!groups.has(one.family)) groups.set(one.family, []);
      groups.get(one.family).push({ key: one.name, title: titleOf(one), note: `${one.formula} · ${one.unit}` });
    }
    const meets = (one) => !text || `${one.key} ${one.title} ${one.note}`.toLowerCase().includes(text);
    const rank = (one) => (one.key.startsWith(text) ? 0 : 1);
    const parts = [...groups].map(([family, all]) => [family, all.filter(meets).sort((a, b) => (text ? rank(a) - rank(b) : 0))]).filter(([, all]) => all.length);
    if (text) parts.sort((a, b) => rank(a[1][0]) - rank(b[1][0]));
    fill(found, parts.map(([family, all]) => h("fieldset", {}, h("legend", {}, tOr(`family.${family}`, family)), all.map((one) => choice(one, here.has(one.key))))));
    if (!parts.length) fill(found, h("p.muted", {}, t("columns.none")));
  }

  function choice(one, on) {
    const box = h("input", { type: "checkbox", checked: on, onchange: () => toggle(one.key) });
    return h("label.choice", { title: one.note }, box, h("span.mono", {}, one.key), h("span.muted", {}, one.title));
  }

  /** What is no name of the catalogue may still be an expression: the hub says. */
  async function check() {
    const text = search.value.trim();
    said.hidden = true;
    if (!text || known.has(text) || !/[^A-Za-z ]/.test(text)) return;
    try {
      const answer = await getJson("api/v1/check", { column: text });
      if (search.value.trim() !== text) return;
      const add = button({ label: t("columns.add", { column: text }), text: t("columns.add", { column: text }), icon: "plus", class: "framed" }, () => toggle(text));
      fill(said, answer.ok ? add : answer.message);
      said.className = answer.ok ? "said" : "said bad";
      said.hidden = false;
    } catch {
      // Without the hub nothing can be checked; that it is away is told elsewhere.
    }
  }

  function typed() {
    drawFound();
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE);
  }

  search.addEventListener("input", typed);
  search.addEventListener("keydown", (event) => {
    const text = search.value.trim();
    const add = said.querySelector("button");
    if (event.key !== "Enter" || !text) return;
    event.preventDefault();
    if (known.has(text)) toggle(text);
    else add?.click();
  });
  dialog({ title: t("columns.title"), close: t("close"), class: "wide picker", onclose: () => clearTimeout(timer), body: [sets,
    h("div.halves", {}, h("section", {}, h("h3", {}, t("columns.shown")), shown), h("section", {}, search, h("p.muted.tip", {}, t("columns.tip")), said, found))] });
  draw();
  try {
    known = await factors();
    draw();
  } catch (error) {
    fill(said, error.message);
    said.hidden = false;
  }
}
