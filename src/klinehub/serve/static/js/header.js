/** The heads of the columns: sorting, moving, pinning, widening, and a menu that does all of it by keys. */

import { chooseColumns, columns as chosenColumns, moveColumn, sort, sortBy, togglePin } from "./chosen.js";
import { keepWidth, within } from "./columns.js";
import { h, icon, popover } from "./dom.js";
import { t } from "./i18n.js";
import { state } from "./state.js";

/** A press that moves less is a click. */
const STIR = 5;

/**
 * Make the row of heads.
 * @param {{onwiden: (key: string, width: number) => void}} options told while a column is made wider
 */
export function makeHeader({ onwiden }) {
  const element = h("div.row.head", { role: "row", "aria-rowindex": "1" });
  /** @type {Map<string, HTMLElement>} */
  let heads = new Map();
  let dragged = false;
  let marked = "";

  function makeHead(column, i) {
    const { key } = column;
    const label = h("button.sort", { type: "button", tabindex: i ? "-1" : "0", title: column.hint },
      h("span.label", {}, column.title), h("span.arrow", { "aria-hidden": "true" }));
    const menu = h("button.open", { type: "button", tabindex: "-1", "aria-label": t("column.menu", { column: column.title }), "aria-haspopup": "menu" }, icon("down"));
    const edge = h("span.edge", { "aria-hidden": "true" });
    const head = h(`div.cell.${column.kind}`, { role: "columnheader", "aria-colindex": String(i + 1), data: { key } }, label, menu, edge);
    if (column.classes) head.classList.add(...column.classes.split(" "));
    if (column.left !== undefined) head.style.left = `${column.left}px`;
    if (column.error) head.classList.add("wrong");
    if (column.error) label.title = column.error;
    label.addEventListener("click", () => (dragged ? undefined : sortBy(key)));
    menu.addEventListener("click", () => openMenu(menu, column));
    head.addEventListener("contextmenu", (event) => (event.preventDefault(), openMenu(menu, column)));
    edge.addEventListener("pointerdown", (event) => widen(event, column, head));
    edge.addEventListener("dblclick", () => keepWidth(key, null));
    if (key !== "symbol") label.addEventListener("pointerdown", (event) => drag(event, key, head));
    return head;
  }

  function openMenu(anchor, column) {
    const { key } = column;
    const act = (label, work, drawn) =>
      h("button.button", { type: "button", role: "menuitem", onclick: () => (list.close(true), work()) }, drawn && icon(drawn), label);
    const keys = chosenColumns();
    const at = keys.indexOf(key);
    const pinned = state.get("pin").includes(key);
    const moves = key !== "symbol" && [
      act(t(pinned ? "column.unpin" : "column.pin"), () => togglePin(key), "pin"),
      at > 0 && act(t("column.left"), () => moveColumn(key, at - 1), "left"),
      at < keys.length - 1 && act(t("column.right"), () => moveColumn(key, at + 1), "right"),
      act(t("column.remove"), () => chooseColumns(keys.filter((one) => one !== key)), "close"),
    ];
    const list = popover(anchor, h("div.menu", { role: "menu" }, h("h3", {}, column.error ?? column.hint),
      act(t("column.descending"), () => sortBy(key, true), "sort"), act(t("column.ascending"), () => sortBy(key, false), "sort"), moves),
    { role: "presentation", class: "column-menu" });
  }

  function drag(event, key, head) {
    if (event.button || event.pointerType === "touch") return;
    dragged = false;
    const from = event.clientX;
    const others = [...heads].filter(([name]) => name !== "symbol");
    let to = key;
    const move = (moved) => {
      if (!dragged && Math.abs(moved.clientX - from) < STIR) return;
      dragged = true;
      head.classList.add("dragged");
      to = others.find(([, one]) => moved.clientX < one.getBoundingClientRect().right)?.[0] ?? others.at(-1)[0];
      for (const [name, one] of others) one.classList.toggle("target", name === to && name !== key);
    };
    const drop = () => {
      removeEventListener("pointermove", move);
      for (const [, one] of others) one.classList.remove("dragged", "target");
      if (dragged) moveColumn(key, chosenColumns().indexOf(to));
      // The click that follows is part of the drag.
      setTimeout(() => (dragged = false));
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", drop, { once: true });
  }

  function widen(event, column, head) {
    event.preventDefault();
    event.stopPropagation();
    const [from, before] = [event.clientX, head.offsetWidth];
    let width = before;
    const move = (moved) => onwiden(column.key, (width = within(before + moved.clientX - from)));
    addEventListener("pointermove", move);
    addEventListener("pointerup", () => {
      removeEventListener("pointermove", move);
      if (width !== before) keepWidth(column.key, width);
    }, { once: true });
  }

  function keys(event) {
    const head = event.target.closest(".cell");
    const key = head?.dataset.key;
    if (!key) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.altKey) moveColumn(key, chosenColumns().indexOf(key) + step);
    else if (step) focus([...heads.keys()][[...heads.keys()].indexOf(key) + step]);
    else if (event.key === "ArrowDown" || event.key === "ContextMenu") head.querySelector(".open").click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function focus(key) {
    const head = heads.get(key);
    if (!head) return;
    for (const [name, one] of heads) one.querySelector(".sort").tabIndex = name === key ? 0 : -1;
    head.querySelector(".sort").focus();
  }

  element.addEventListener("keydown", keys);

  return {
    element,

    /** Show the heads of these columns. */
    setColumns(columns) {
      const focused = element.contains(document.activeElement) && document.activeElement.closest(".cell").dataset.key;
      heads = new Map(columns.map((column, i) => [column.key, makeHead(column, i)]));
      element.replaceChildren(...heads.values());
      marked = "";
      this.mark(false, "");
      if (focused) focus(focused);
    },

    /**
     * Show what the rows are sorted by.
     * @param {boolean} old whether the order is older than the values
     * @param {string} said when it was taken
     */
    mark(old, said) {
      const { key, descending } = sort();
      const now = `${key} ${descending} ${old} ${said}`;
      if (now === marked) return;
      marked = now;
      for (const [name, head] of heads) {
        const mine = name === key;
        head.setAttribute("aria-sort", mine ? (descending ? "descending" : "ascending") : "none");
        head.classList.toggle("old", mine && old);
        head.querySelector(".arrow").textContent = mine ? (descending ? "↓" : "↑") : "";
        head.querySelector(".arrow").title = mine ? said : "";
      }
    },
  };
}
