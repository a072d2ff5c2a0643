/** The rules: what each looks for, whom it tells, how often it fired, and what is wrong with it. */

import { book } from "./alert_book.js";
import { fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { textButton } from "./pieces.js";

/**
 * Make the list.
 * @param {(rule: any) => void} edit opens the editor
 * @returns {{element: HTMLElement, refresh: () => void}}
 */
export function makeRules(edit) {
  const list = h("ul.rules");
  const add = textButton("alerts.rule.new", () => edit({}), { icon: "plus" });
  const element = h("div", {}, h("div.log-bar", {}, add), list);
  /** What was answered, by the name of the rule: it stays while the list is drawn anew. */
  const said = new Map();
  let before = "";

  function refresh() {
    const now = JSON.stringify([book.rules, [...said]]);
    if (now === before) return;
    before = now;
    const focused = document.activeElement?.dataset?.focus;
    fill(list, book.rules.length ? book.rules.map((rule) => row(rule)) : h("li.blank-line.muted", {}, t("alerts.rules.none")));
    if (focused) list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  function say(name, told) {
    if (told === null) said.delete(name);
    else said.set(name, told);
    refresh();
  }

  async function doing(name, work) {
    try {
      await work();
    } catch (error) {
      say(name, { bad: error.message });
    }
  }

  async function test(name) {
    say(name, { waiting: true });
    await doing(name, async () => say(name, { answers: await book.test(name) }));
  }

  function row(rule) {
    const { name, origin } = rule;
    const own = origin === "board";
    const act = (key, drawn, work) =>
      textButton(`alerts.rule.${key}`, work, { icon: drawn, class: "quiet", data: { focus: `${key} ${name}` } });
    const turn = (event) => doing(name, () => book.save({ ...rule, enabled: event.target.checked }));
    const flip = h("input", {
      type: "checkbox", role: "switch", checked: rule.enabled, disabled: !own, "aria-label": t("alerts.rule.enabled", { name }),
      data: { focus: `on ${name}` }, onchange: turn,
    });
    const copied = { ...rule, name: t("alerts.rule.copied", { name }), origin: "board", copy: true };
    return h(`li.rule${rule.enabled ? "" : ".off"}`, {},
      h("div.rule-head", {}, h("label.switch", {}, flip), h("b", {}, name), h("span.muted", {}, rule.timeframe),
        h("span.muted.rule-origin", {}, own ? "" : t("alerts.rule.file")),
        h("span.rule-counts", {}, t("alerts.rule.counts", { armed: rule.armed, fired: rule.fired }))),
      h("p.mono.rule-where", {}, condition(rule)),
      h("p.muted", {}, sentence(rule)),
      rule.failure && h("p.bad", { role: "alert" }, rule.failure),
      answer(said.get(name)),
      h("div.rule-acts", {}, act("test", "send", () => test(name)), own && act("edit", "pencil", () => edit(rule)),
        act("copy", "copy", () => edit(copied)),
        own && act(said.get(name)?.sure ? "sure" : "delete", "bin", () => remove(name))));
  }

  function remove(name) {
    if (!said.get(name)?.sure) return say(name, { sure: true });
    said.delete(name);
    return doing(name, () => book.remove(name));
  }

  return { element, refresh };
}

function condition({ where, screen, side, min_score }) {
  const score = min_score > 0 && t("alerts.rule.min", { score: min_score });
  return [screen && t("alerts.rule.screen", { screen }), where, score, side && t(`side.${side}`)].filter(Boolean).join(" · ");
}

/** Say in words when it fires again, for whom, and whom it tells. */
function sentence({ clear, cooldown, symbols, to, forming }) {
  return [
    clear ? t("alerts.rule.clear", { clear }) : t("alerts.rule.clear.none"),
    cooldown > 0 && t("alerts.rule.cooldown", { n: cooldown, count: cooldown }),
    symbols.length > 0 && (symbols.length > 4 ? t("alerts.rule.symbols", { count: symbols.length }) : symbols.join(", ")),
    forming && t("alerts.rule.forming"),
    to.length ? t("alerts.rule.to", { targets: to.join(", ") }) : t("alerts.rule.to.all"),
  ].filter(Boolean).join(" · ");
}

function answer(told) {
  if (!told) return null;
  if (told.sure) return h("p.warn", { role: "alert" }, t("alerts.rule.sure.text"));
  if (told.bad) return h("p.bad", { role: "alert" }, told.bad);
  if (told.waiting) return h("p.muted", { role: "status" }, t("alerts.test.waiting"));
  if (!told.answers.length) return h("p.warn", { role: "status" }, t("alerts.test.nobody"));
  return h("ul.deliveries", { role: "status" }, told.answers.map(({ target, ok, detail }) =>
    h(`li.delivery.${ok ? "sent" : "given_up"}`, {}, h("b", {}, target), " ",
      h("span", {}, t(ok ? "alerts.test.ok" : "alerts.test.failed")), detail && h("span.detail", {}, detail))));
}
