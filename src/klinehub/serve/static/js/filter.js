/**
 * The filter box: the hub's own language, checked while it is typed and used on Enter.
 *
 * A mistake is told under the box with its place marked; names are completed with what they mean.
 */

import { getJson } from "./api.js";
import { completions, factors } from "./catalogue.js";
import { where } from "./chosen.js";
import { button, fill, h, icon } from "./dom.js";
import { formatNumber, t } from "./i18n.js";
import { market } from "./market.js";
import { state } from "./state.js";

const PAUSE = 180;
const LONGEST = 500;

/** Make the box. */
export function makeFilter() {
  const input = h("input.field.mono", {
    id: "filter", type: "text", role: "combobox", "aria-label": t("filter.label"), placeholder: t("filter.placeholder"), spellcheck: "false",
    autocomplete: "off", autocapitalize: "off", maxlength: LONGEST, "aria-autocomplete": "list", "aria-expanded": "false",
    "aria-controls": "filter-words", "aria-describedby": "filter-said", value: where(),
  });
  const list = h("div.words", { id: "filter-words", role: "listbox", "aria-label": t("filter.words"), hidden: true });
  const said = h("div.said", { id: "filter-said", role: "status", hidden: true });
  const hits = h("span.hits");
  const clear = button({ label: t("filter.clear"), icon: "close", class: "quiet clear", hidden: true }, () => ((input.value = ""), use(), input.focus()));
  const element = h("div.filter", {}, icon("search"), input, hits, clear, list, said);
  let offered = [];
  let from = 0;
  let marked = -1;
  let timer = 0;
  let asking = null;
  let found = { text: "", ok: true, hits: null };

  /** Use what is typed; what is wrong stays under the box and changes nothing. */
  function use() {
    shut();
    const text = input.value.trim();
    state.set({ where: text === "" && !state.get("preset") ? null : text });
    check();
    draw();
  }

  function draw() {
    const text = input.value.trim();
    clear.hidden = input.value === "";
    const pending = text !== where();
    element.classList.toggle("pending", pending);
    element.classList.toggle("wrong", !found.ok && found.text === text);
    input.setAttribute("aria-invalid", String(!found.ok && found.text === text));
    if (!pending) hits.textContent = counted === null || !text ? "" : t("filter.hits", { n: counted, count: formatNumber(counted, "whole") });
    else if (found.ok && found.text === text && found.hits !== null) hits.textContent = t("filter.enter", { n: found.hits, count: formatNumber(found.hits, "whole") });
    else hits.textContent = text || where() ? t("filter.press") : "";
  }

  let counted = null;

  async function check() {
    const text = input.value.trim();
    asking?.abort();
    if (!text) return answer(text, { ok: true, message: "", place: null, hits: null });
    asking = new AbortController();
    try {
      answer(text, await getJson("api/v1/check", { where: text, timeframe: state.get("tf") || undefined }, { signal: asking.signal }));
    } catch (error) {
      // Without the hub nothing can be checked; that it is away is told elsewhere.
      if (error.name !== "AbortError" && error.status === 400) answer(text, { ok: false, message: error.message, place: null, hits: null });
    }
  }

  function answer(text, told) {
    found = { text, ok: told.ok, hits: told.hits };
    said.hidden = told.ok;
    if (!told.ok) fill(said, marks(text, told.place), h("p", {}, told.message));
    draw();
  }

  /** Write the text again with what is wrong marked from its place on. */
  function marks(text, place) {
    if (place === null) return null;
    const at = Math.min(place, text.length);
    const end = /^(\w+|\S|\s*$)/.exec(text.slice(at))?.[0].length || 1;
    const wrong = text.slice(at, at + end) || " ";
    return h("p.mono", {}, text.slice(0, at), h("mark", {}, wrong), text.slice(at + end));
  }

  function typed() {
    draw();
    said.hidden = true;
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE);
    offer();
  }

  async function offer() {
    try {
      await factors();
    } catch {
      // No names are offered while the hub is away; typing goes on.
      return;
    }
    const next = completions(input.value, input.selectionStart ?? 0, market.hello?.timeframes ?? []);
    from = next.from;
    offered = next.words;
    marked = offered.length ? 0 : -1;
    if (document.activeElement !== input || !offered.length) return shut();
    fill(list, offered.map((one, i) => h("div.word", { role: "option", id: `word-${i}`, data: { at: i } },
      h("span.mono", {}, one.word), h("span.title", {}, one.title), one.note && h("span.note.mono", {}, one.note))));
    list.hidden = false;
    list.scrollTop = 0;
    input.setAttribute("aria-expanded", "true");
    mark();
  }

  function mark() {
    for (const [i, one] of [...list.children].entries()) {
      one.setAttribute("aria-selected", String(i === marked));
      if (i === marked) one.scrollIntoView({ block: "nearest" });
    }
    if (marked >= 0) input.setAttribute("aria-activedescendant", `word-${marked}`);
  }

  function shut() {
    list.hidden = true;
    offered = [];
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function take(one) {
    const at = input.selectionStart ?? input.value.length;
    input.setRangeText(one.insert, from, at, "end");
    shut();
    input.focus();
    typed();
    shut();
  }

  function key(event) {
    const open = !list.hidden;
    const act = {
      ArrowDown: () => open && ((marked = (marked + 1) % offered.length), mark()),
      ArrowUp: () => open && ((marked = (marked - 1 + offered.length) % offered.length), mark()),
      Tab: () => open && !event.shiftKey && take(offered[marked]),
      Enter: () => (open && chosenByHand ? take(offered[marked]) : use(), true),
      Escape: () => (open ? shut() : leave(), true),
    }[event.key];
    if (event.isComposing || !act) return;
    const done = act();
    if (done !== false) event.preventDefault();
    if (event.key === "Escape") event.stopPropagation();
    chosenByHand = open && event.key.startsWith("Arrow");
  }

  /** Enter uses the filter as it is typed; it takes a word only after an arrow has gone to it. */
  let chosenByHand = false;

  function leave() {
    if (input.value.trim() !== where()) {
      input.value = where();
      check();
    } else input.blur();
    draw();
  }

  input.addEventListener("input", () => ((chosenByHand = false), typed()));
  input.addEventListener("keydown", key);
  input.addEventListener("blur", () => setTimeout(() => !list.contains(document.activeElement) && shut(), 120));
  list.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    const one = event.target.closest(".word");
    if (one) take(offered[Number(one.dataset.at)]);
  });
  if (input.value) check();
  draw();

  return {
    element,
    ends: [market.subscribe("view", draw), () => clearTimeout(timer), () => asking?.abort()],

    focus() {
      input.focus();
      input.select();
    },

    /** @param {number|null} number how many symbols meet the filter; null without one */
    count(number) {
      counted = number;
      draw();
    },

    /** Show the filter that the address has, unless somebody types. */
    refresh() {
      if (document.activeElement === input || input.value.trim() === where()) return draw();
      input.value = where();
      check();
      draw();
    },
  };
}
