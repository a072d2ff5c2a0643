/** The editor of a rule: what it looks for is checked by the hub while it is typed. */

import { book } from "./alert_book.js";
import { getJson } from "./api.js";
import { fill, h } from "./dom.js";
import { formatNumber, t } from "./i18n.js";
import { market } from "./market.js";
import { personal } from "./personal.js";
import { textButton } from "./pieces.js";
import { timeframe } from "./shell.js";

const PAUSE = 250;
const LONGEST = 500;
const EMPTY = {
  name: "", where: "", screen: "", timeframe: "", symbols: [], clear: "", cooldown: 0, forming: false, min_score: 0, side: "",
  to: [], enabled: true,
};

/**
 * Make the editor.
 * @param {any} start what the rule is at first; with a name and no `copy` it is one that is there already
 * @param {() => void} leave called when it is saved or given up
 * @returns {HTMLElement}
 */
export function makeRule(start, leave) {
  const rule = { ...EMPTY, timeframe: timeframe(), ...start };
  const known = Boolean(start.name) && !start.copy;
  const wrong = h("p.bad", { role: "alert" });
  const form = h("form.form.rule-form", { novalidate: true });
  const fields = fieldsOf(rule, known, form);
  const save = async () => {
    wrong.textContent = "";
    const told = read(fields);
    if (!known && book.rules.some((one) => one.name === told.name)) {
      wrong.textContent = t("alerts.edit.taken", { name: told.name });
      return;
    }
    keep.disabled = true;
    try {
      await book.save({ ...rule, ...told });
      leave();
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      keep.disabled = false;
    }
  };
  const keep = textButton("alerts.edit.save", save, { class: "main" });
  form.addEventListener("input", () => (wrong.textContent = ""));
  form.addEventListener("submit", (event) => (event.preventDefault(), save()));
  const toHint = t(fields.to.length ? "alerts.edit.to.hint" : "alerts.edit.to.none");
  const more = Boolean(rule.screen || rule.symbols.length || rule.side || rule.min_score || rule.forming);
  fill(form,
    h("h3", {}, known ? t("alerts.edit.title", { name: rule.name }) : t("alerts.rule.new")),
    line("name", fields.name), line("where", fields.where.element), line("timeframe", fields.timeframe),
    line("to", h("div.checks", {}, fields.to.map(({ element }) => element), h("span.muted", {}, toHint))),
    line("clear", fields.clear.element, t("alerts.edit.clear.hint")),
    line("cooldown", fields.cooldown, t("alerts.edit.cooldown.hint")),
    h("details", { open: more }, h("summary", {}, t("alerts.edit.more")), h("div.form", {},
      line("screen", fields.screen), line("symbols", fields.symbols, t("alerts.edit.symbols.hint")), watchlist(fields.symbols),
      line("side", fields.side), line("min_score", fields.min_score), check(fields.forming, "forming"))),
    check(fields.enabled, "enabled"), wrong,
    h("div.actions", {}, textButton("alerts.edit.cancel", leave), keep));
  return form;
}

function fieldsOf(rule, known, form) {
  const number = (value, more) => h("input.field", { type: "number", value: String(value), min: "0", ...more });
  const tick = (value) => h("input", { type: "checkbox", checked: value });
  const frames = market.hello?.timeframes ?? [rule.timeframe];
  const screens = ["", ...(market.hello?.presets ?? []).map((one) => one.name)];
  return {
    name: h("input.field", { value: rule.name, maxlength: "64", readonly: known, autocomplete: "off", spellcheck: "false" }),
    where: expression(rule.where, "where", form),
    clear: expression(rule.clear, "clear", form),
    timeframe: select(frames, rule.timeframe, (name) => name),
    screen: select([...new Set([...screens, rule.screen])], rule.screen, (name) => name || t("alerts.edit.screen.none")),
    symbols: h("textarea.field.mono", { rows: "2", spellcheck: "false", value: rule.symbols.join(" ") }),
    cooldown: number(rule.cooldown, { max: "10000", step: "1" }),
    min_score: number(rule.min_score, { max: "100", step: "1" }),
    side: select(["", "long", "short"], rule.side, (name) => t(name ? `side.${name}` : "alerts.edit.side.both")),
    forming: tick(rule.forming),
    enabled: tick(rule.enabled),
    to: [...new Set([...book.targets.map((one) => one.name), ...rule.to])].map((name) => {
      const box = h("input", { type: "checkbox", checked: rule.to.includes(name) });
      return { name, box, element: h("label", {}, box, name) };
    }),
  };
}

function read(fields) {
  const symbols = fields.symbols.value.toUpperCase().split(/[\s,;]+/).filter(Boolean);
  return {
    name: fields.name.value.trim(), where: fields.where.input.value.trim(), clear: fields.clear.input.value.trim(),
    timeframe: fields.timeframe.value, screen: fields.screen.value, symbols: [...new Set(symbols)],
    cooldown: Math.round(Number(fields.cooldown.value)) || 0, min_score: Number(fields.min_score.value) || 0,
    side: fields.side.value, forming: fields.forming.checked, enabled: fields.enabled.checked,
    to: fields.to.filter(({ box }) => box.checked).map(({ name }) => name),
  };
}

/** Make a field for a condition, with what the hub says of it below. */
function expression(text, name, form) {
  const said = h("p.said-line", { id: `rule-${name}-said`, role: "status" });
  const input = h("textarea.field.mono", {
    rows: "2", maxlength: String(LONGEST), spellcheck: "false", autocapitalize: "off", value: text, "aria-describedby": said.id,
  });
  let timer = 0;
  let asking = null;
  const look = async () => {
    asking?.abort();
    const where = input.value.trim();
    if (!where) return tell("", false);
    asking = new AbortController();
    try {
      const told = await getJson("api/v1/check", { where }, { signal: asking.signal });
      tell(told.ok ? meant(told.hits) : told.message, !told.ok);
    } catch (error) {
      if (error.name !== "AbortError") tell(error.message, true);
    }
  };
  const tell = (message, bad) => {
    said.textContent = message;
    said.classList.toggle("bad", bad);
    input.setAttribute("aria-invalid", String(bad));
  };
  input.addEventListener("input", () => (clearTimeout(timer), (timer = setTimeout(look, PAUSE))));
  // Enter saves, as in every other field: a condition is one line that may be long.
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  if (text) look();
  return { input, element: h("div", {}, input, said) };
}

/** Say how many symbols meet a condition now. */
function meant(hits) {
  return hits === null ? t("alerts.check.ok") : t("alerts.check.hits", { n: hits, count: formatNumber(hits, "whole") });
}

function line(name, field, hint) {
  const input = field.matches("input, select, textarea") ? field : field.querySelector("textarea");
  const label = t(`alerts.edit.${name}`);
  if (input) input.id ||= `rule-${name}`;
  return h("div.line", {}, input ? h("label", { for: input.id }, label) : h("span", {}, label),
    h("div", {}, field, hint && h("p.muted.hint", {}, hint)));
}

function check(box, name) {
  return h("label.check", {}, box, h("span", {}, t(`alerts.edit.${name}`)));
}

function select(names, chosen, text) {
  return h("select.field", {}, names.map((name) => h("option", { value: name, selected: name === chosen }, text(name))));
}

function watchlist(field) {
  const symbols = personal.get("watch", []);
  if (!symbols.length) return null;
  const put = textButton("alerts.edit.watchlist", () => (field.value = symbols.join(" ")), { icon: "star" });
  return h("div.line", {}, h("span"), h("div", {}, put));
}
