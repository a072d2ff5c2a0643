/** The table of the market: what it shows, when it is written anew, and what keys and clicks do in it. */

import { factors } from "./catalogue.js";
import { redraw } from "./cells.js";
import * as chosen from "./chosen.js";
import { columnOf } from "./columns.js";
import { closePopover, fill, h, icon } from "./dom.js";
import { nextFrame } from "./frame.js";
import { makeHeader } from "./header.js";
import { formatTime, t } from "./i18n.js";
import { bind } from "./keys.js";
import { live } from "./live.js";
import { market } from "./market.js";
import { blank } from "./notice.js";
import { order } from "./order.js";
import { personal } from "./personal.js";
import { openRowMenu, toggleRowHidden, toggleRowWatch } from "./rowmenu.js";
import { makeRows } from "./rows.js";
import { state } from "./state.js";
import { onColours } from "./theme.js";
import { makeToolbar } from "./toolbar.js";
import { makeWhy } from "./why.js";

const HEAD = 30;
const STRETCH = 1.5;
/** Where the window is narrow: what says most stands side by side without moving the table. */
const NARROW = { symbol: 118, price: 94, change: 74, day: 74, score: 68 };
/** A finger leaves no pointer over the table: rows stay for so long after it has moved. */
const AFTER_TOUCH = 3_000;
/** What is found again when the reader comes back to the table. */
const kept = { scroll: 0, left: 0, symbol: "" };

/**
 * Show the table.
 * @param {HTMLElement} container
 * @returns {import("./views.js").View}
 */
export function mount(container) {
  const over = h("div.over", { hidden: true });
  const pill = h("button.pill", { type: "button", hidden: true }, icon("sort"), h("span"));
  const progress = h("div.progress", { "aria-hidden": "true" });
  const grid = h("div.grid", { role: "grid", tabindex: "0", "aria-label": t("table.label"), "aria-multiselectable": "false" });
  const rows = makeRows(grid);
  const header = makeHeader({ onwiden: (key, width) => resize(new Map([[key, width]])) });
  const toolbar = makeToolbar({ rows: () => order.rows, columns: () => shown });
  const why = makeWhy(grid, rows);
  const ends = [];
  let shown = [];
  let stale = { columns: true, order: true, look: true };
  let pointer = false;
  let touched = 0;
  let left = 0;

  grid.append(header.element, rows.body);
  fill(container, toolbar.element, h("div.frame", {}, progress, grid, over, pill));

  function isHeld() {
    return pointer || kept.symbol !== "" || market.paused || performance.now() - touched < AFTER_TOUCH;
  }

  /** Ask for what the columns and the order need. */
  function want() {
    const keys = [...chosen.columns(), chosen.sort().key];
    market.want("table", keys.map(columnOf).filter((column) => column.expression).map((column) => column.expression));
  }

  function resize(widths) {
    const width = (column) => widths.get(column.key) ?? column.width;
    const fixed = (column) => column.left !== undefined || column.kind === "spark" || column.kind === "why";
    // Few columns are not torn apart: what is left of the window stays empty.
    const track = (column) => (fixed(column) ? `${width(column)}px` : `minmax(${width(column)}px, ${Math.round(width(column) * STRETCH)}px)`);
    grid.style.setProperty("--grid", shown.map(track).join(" "));
    grid.style.setProperty("--width", `${shown.reduce((sum, column) => sum + width(column), 0)}px`);
  }

  /** Pinned columns stand beside the symbol, each where the one before it ends. */
  function setColumns() {
    const keys = chosen.columns();
    const pin = state.get("pin").filter((key) => keys.includes(key));
    const pinned = chosen.isNarrow() ? ["symbol"] : ["symbol", ...pin];
    let left = 0;
    shown = [...new Set([...pinned, ...keys])].map((key, i) => {
      const column = columnOf(key);
      if (chosen.isNarrow()) column.width = NARROW[column.kind === "number" ? key : column.kind] ?? column.width;
      if (i >= pinned.length) return column;
      const fixed = { ...column, left, classes: i === pinned.length - 1 ? "pinned last" : "pinned" };
      left += column.width;
      return fixed;
    });
    grid.setAttribute("aria-colcount", String(shown.length));
    header.setColumns(shown);
    rows.setColumns(shown);
    resize(new Map());
    stale.look = true;
  }

  function takeOrder() {
    order.take();
    rows.setRows(order.rows);
    grid.setAttribute("aria-rowcount", String(order.rows.length + 1));
    toolbar.count();
    stale.look = true;
  }

  function mark() {
    const live = columnOf(chosen.sort().key).live;
    const said = t("table.sorted", { time: formatTime(order.time) });
    header.mark(order.due || (live && order.wrong), said);
    pill.hidden = !order.due;
    pill.lastChild.textContent = t("table.sort.now", { time: formatTime(order.time) });
    progress.classList.toggle("busy", market.hello !== null && !market.settled && !market.failed);
    grid.classList.toggle("off", isLost());
    const blanked = blank(order);
    over.hidden = blanked === null;
    over.classList.toggle("whole", !market.bar);
    if (blanked) fill(over, blanked);
  }

  function draw() {
    if (stale.columns) setColumns();
    if (stale.order) takeOrder();
    rows.draw(stale.look ? "all" : "live");
    mark();
    stale = { columns: false, order: false, look: false };
  }

  function again(what) {
    Object.assign(stale, what);
    nextFrame(draw);
  }

  function onTable() {
    redraw("why");
    why.refresh();
    if (isHeld() && order.time) order.due = true;
    else stale.order = true;
    again({ look: true });
  }

  function settle() {
    if (!isHeld() && (order.due || order.restless)) again({ order: true });
  }

  /** What is asked for anew is sorted anew when it comes, whoever holds the table. */
  let view = market.bar?.view ?? 0;
  function onNewTable() {
    if (market.bar.view === view) return onTable();
    view = market.bar.view;
    redraw("why");
    again({ columns: true, order: true });
  }

  function choose(symbol) {
    kept.symbol = symbol;
    rows.choose(symbol);
    again({ look: true });
    if (symbol) reveal();
    else settle();
  }

  function reveal() {
    const at = order.rows.indexOf(market.rows.get(kept.symbol));
    if (at < 0) return grid.removeAttribute("aria-activedescendant");
    rows.reveal(at, HEAD);
    rows.draw("place");
    grid.setAttribute("aria-activedescendant", rows.elementOf(order.rows[at])?.id ?? "");
  }

  function step(by) {
    if (!order.rows.length) return;
    const at = order.rows.indexOf(market.rows.get(kept.symbol));
    const first = Math.floor(grid.scrollTop / rows.height);
    const next = at < 0 && Number.isFinite(by) ? first : Math.max(0, Math.min(order.rows.length - 1, at + by));
    choose(market.symbols[order.rows[next]].symbol);
  }

  function open(symbol) {
    kept.symbol = symbol;
    state.set({ view: "symbol", symbol }, { push: true });
  }

  function onClick(event) {
    const row = rows.rowOf(event.target);
    if (row < 0) return;
    const { symbol } = market.symbols[row];
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (act === "watch") return toggleRowWatch(symbol);
    if (act === "more") return openRowMenu(event.target.closest("button"), row);
    const cell = event.target.closest("[data-why]");
    if (cell) return why.open(cell, row);
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    open(symbol);
  }

  grid.addEventListener("click", onClick);
  grid.addEventListener("contextmenu", (event) => {
    const row = rows.rowOf(event.target);
    if (row < 0) return;
    event.preventDefault();
    openRowMenu(event.target.closest(".row").querySelector(".more"), row);
  });
  grid.addEventListener("scroll", () => {
    rows.look();
    left = grid.scrollLeft;
    if (!pointer) touched = performance.now();
    nextFrame(moved);
  }, { passive: true });
  grid.addEventListener("pointerenter", (event) => (pointer = event.pointerType === "mouse"));
  grid.addEventListener("pointerleave", () => ((pointer = false), settle()));
  pill.addEventListener("click", () => again({ order: true }));

  function moved() {
    rows.draw("place");
    grid.classList.toggle("moved", left > 0);
  }

  const sized = new ResizeObserver(([entry]) => {
    rows.setHeight(entry.contentRect.height - HEAD);
    // Now and not in the next frame: there would be nothing to be seen in this one.
    rows.draw("all");
  });
  sized.observe(grid);

  const noted = () => again({ look: true });
  ends.push(
    market.subscribe("table", onNewTable),
    market.subscribe("symbols", () => again({ order: true })),
    market.subscribe("view", () => again({ columns: true })),
    market.subscribe("prices", () => (settle(), nextFrame(draw))),
    market.subscribe("spark", () => (redraw("spark"), noted())),
    market.subscribe("stale", noted),
    market.subscribe("health", settle),
    market.subscribe("hello", () => (know(), want(), again({ columns: true, order: true }))),
    market.subscribe("asked", noted),
    market.subscribe("failed", noted),
    market.subscribe("held", () => (toolbar.paused(), settle())),
    live.on("status", noted),
    onColours(() => (redraw("spark", "why"), noted())),
    chosen.onNarrow(() => (want(), again({ columns: true }))),
    personal.subscribe(onPersonal),
    bind("j", { label: "keys.down", group: "keys.table", act: () => step(1) }),
    bind("ArrowDown", { label: "keys.down", group: "keys.table", act: () => step(1) }),
    bind("k", { label: "keys.up", group: "keys.table", act: () => step(-1) }),
    bind("ArrowUp", { label: "keys.up", group: "keys.table", act: () => step(-1) }),
    bind("PageDown", { act: () => step(page()) }),
    bind("PageUp", { act: () => step(-page()) }),
    bind("Home", { act: () => step(-Infinity) }),
    bind("End", { act: () => step(Infinity) }),
    bind("Enter", { label: "keys.open", group: "keys.table", act: () => kept.symbol && open(kept.symbol) }),
    bind("w", { label: "keys.watch", group: "keys.table", act: () => kept.symbol && toggleRowWatch(kept.symbol) }),
    bind("x", { label: "keys.hide", group: "keys.table", act: hideChosen }),
    bind("i", { label: "keys.why", group: "keys.table", act: whyChosen }),
    bind("c", { label: "keys.copy", group: "keys.table", act: menuChosen }),
    bind("r", { label: "keys.sort", group: "keys.table", act: () => again({ order: true }) }),
    bind("p", { label: "keys.pause", group: "keys.table", act: () => market.hold(!market.paused) }),
    bind(" ", { act: () => market.hold(!market.paused) }),
    bind("Escape", { label: "keys.leave", group: "keys.table", act: () => (closePopover(), choose("")) }),
    ...toolbar.ends,
  );

  function page() {
    return Math.max(1, Math.floor((grid.clientHeight - HEAD) / rows.height) - 1);
  }

  function onPersonal(name) {
    if (name === "widths") again({ columns: true });
    else if (name === "watch" && state.get("only") !== "watch") noted();
    else if (name === "watch" || name === "hidden" || name === null) again({ order: true, look: true });
  }

  function chosenRow() {
    return market.rows.get(kept.symbol) ?? -1;
  }

  function hideChosen() {
    const symbol = kept.symbol;
    if (!symbol) return;
    step(1);
    toggleRowHidden(symbol);
  }

  function whyChosen() {
    const cell = rows.elementOf(chosenRow())?.querySelector("[data-why]");
    if (cell) why.open(cell, chosenRow());
  }

  function menuChosen() {
    const anchor = rows.elementOf(chosenRow())?.querySelector(".more");
    if (anchor) openRowMenu(anchor, chosenRow());
  }

  /** Columns say what they are once the catalogue is here; a hub that warms up has none to give yet. */
  function know() {
    factors().then(() => again({ columns: true }), () => undefined);
  }

  know();
  rows.choose(kept.symbol);
  want();
  draw();
  grid.scrollTo(kept.left, kept.scroll);

  return {
    update(names) {
      if (names.has("cols") || names.has("preset") || names.has("sort")) want();
      toolbar.refresh();
      const list = ["find", "only", "cat", "sort", "preset", "where"].some((name) => names.has(name));
      const look = ["cols", "pin", "preset"].some((name) => names.has(name));
      again({ columns: stale.columns || look, order: stale.order || list, look: true });
    },
    unmount() {
      Object.assign(kept, { scroll: grid.scrollTop, left: grid.scrollLeft });
      sized.disconnect();
      why.close();
      closePopover();
      for (const end of ends) end();
    },
  };
}

function isLost() {
  return live.status().state !== "open";
}
