/** Keys: what each does where nobody types, and the page that lists them. */

import { dialog, h } from "./dom.js";
import { t } from "./i18n.js";

/** @type {Map<string, {label: string, act: (event: KeyboardEvent) => void, when?: () => boolean, group: string}[]>} */
const bound = new Map();

/**
 * Let a key do something; where several may, the last one bound whose `when` holds is taken.
 * @param {string} key as `KeyboardEvent.key` has it
 * @param {{label: string, group?: string, when?: () => boolean, act: (event: KeyboardEvent) => void}} what `label` is
 *   the text's key for the list, nothing for a key that is not listed; `group` is `keys.page`, `keys.table` …
 * @returns {() => void} ends it
 */
export function bind(key, { label, group = "keys.page", when, act }) {
  const one = { label, group, when, act };
  if (!bound.has(key)) bound.set(key, []);
  bound.get(key).push(one);
  return () => bound.set(key, bound.get(key).filter((other) => other !== one));
}

function isTyping(element) {
  return Boolean(element.closest?.("input, textarea, select, [contenteditable]"));
}

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]") || isTyping(event.target)) return;
  const found = bound.get(event.key)?.findLast((one) => !one.when || one.when());
  if (!found) return;
  // A button that has the focus takes these itself.
  if ((event.key === "Enter" || event.key === " ") && event.target.closest?.("button, a, summary")) return;
  event.preventDefault();
  found.act(event);
}

const SHOWN = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "Space", Escape: "Esc" };

/** Show which key does what. */
export function showKeys() {
  const groups = new Map();
  for (const [key, all] of bound) {
    for (const { label, group, when } of all) {
      if (!label || (when && !when())) continue;
      const rows = groups.get(group) ?? groups.set(group, new Map()).get(group);
      rows.set(label, [...(rows.get(label) ?? []), SHOWN[key] ?? key]);
    }
  }
  const body = [...groups].map(([group, rows]) => [
    h("h3", {}, t(group)),
    h("dl", {}, [...rows].map(([label, keys]) =>
      h("div", {}, h("dt", {}, keys.map((key) => h("kbd", {}, key))), h("dd", {}, t(label))))),
  ]);
  dialog({ title: t("keys.title"), close: t("close"), body, class: "keys" });
}

/** Listen to keys from now on. */
export function startKeys() {
  document.addEventListener("keydown", pressed);
  bind("?", { label: "keys.help", act: showKeys });
}
