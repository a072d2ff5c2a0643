/** The table of the market: what it shows, and when it is written anew. */

import { factors } from "./catalogue.js";
import { redraw } from "./cells.js";
import * as chosen from "./chosen.js";
import { columnOf } from "./columns.js";
import { makeCursor } from "./cursor.js";
import { closePopover, fill, h, icon } from "./dom.js";
import { nextFrame } from "./frame.js";
import { HEAD, makeGrid } from "./grid.js";
import { makeHold } from "./hold.js";
import { formatTime, t } from "./i18n.js";
import { bind } from "./keys.js";
import { live } from "./live.js";
import { market } from "./market.js";
import { blank } from "./notice.js";
import { order } from "./order.js";
import { personal } from "./personal.js";
import { openRowMenu, toggleRowWatch } from "./rowmenu.js";
import { state } from "./state.js";
import { onColours } from "./theme.js";
import { makeToolbar } from "./toolbar.js";
import { makeWhy } from "./why.js";

/** Parts of the address that say which rows there are, and which columns. */
const LISTS = ["find", "only", "cat", "sort", "preset", "where"];
const COLUMNS = ["cols", "pin", "preset"];
/** Where the table was left. */
const kept = { top: 0, left: 0 };

/**
 * Show the table.
 * @param {HTMLElement} container
 * @returns {import("./views.js").View}
 */
export function mount(container) {
  const grid = makeGrid();
  const over = h("div.over", { hidden: true });
  const pill = h("button.pill", { type: "button", hidden: true, onclick: () => again({ order: true }) }, icon("sort"), h("span"));
  const progress = h("div.progress", { "aria-hidden": "true" });
  const toolbar = makeToolbar({ rows: () => order.rows, columns: () => grid.columns });
  const why = makeWhy(grid.element, grid.rows);
  const frame = h("div.frame", {}, progress, grid.element, over, pill);
  const hold = makeHold(frame, { onleave: () => settle() });
  const cursor = makeCursor(grid, { why, onchoose: () => (again({ look: true }), settle()) });
  /** What has to be made anew before the next frame: the columns, the order of the rows, or all that is seen. */
  let stale = { columns: true, order: true, look: true };
  let view = market.bar?.view ?? 0;

  fill(container, toolbar.element, frame);

  function isHeld() {
    return hold.isHeld() || cursor.isSet || market.paused;
  }

  function again(what) {
    Object.assign(stale, what);
    nextFrame(draw);
  }

  function noted() {
    again({ look: true });
  }

  function draw() {
    const { columns, order: sorted, look } = stale;
    stale = { columns: false, order: false, look: false };
    if (columns) grid.setColumns();
    if (sorted) takeOrder();
    grid.rows.draw(columns || sorted || look ? "all" : "live");
    mark();
  }

  function takeOrder() {
    order.take();
    grid.setRows(order.rows);
    toolbar.count();
  }

  /** Say how old the order is, and what keeps values from being here. */
  function mark() {
    const old = order.due || (order.moves && order.wrong);
    grid.header.mark(old, t("table.sorted", { time: formatTime(order.time) }));
    pill.hidden = !order.due;
    pill.lastChild.textContent = t("table.sort.now", { time: formatTime(order.time) });
    progress.classList.toggle("busy", market.hello !== null && !market.settled && !market.failed);
    grid.element.classList.toggle("off", live.status().state !== "open");
    const said = blank(order);
    over.hidden = said === null;
    over.classList.toggle("whole", !market.bar);
    if (said) fill(over, said);
  }

  /** Ask for what the columns and the order need. */
  function want() {
    const keys = [...chosen.columns(), chosen.sort().key];
    market.want("table", keys.map((key) => columnOf(key).expression).filter(Boolean));
    market.wantSpark(keys.includes("spark"));
  }

  /** A close sorts the rows anew, unless they have to stay; what was asked for anew is sorted whoever holds them. */
  function onTable() {
    const isNew = market.bar.view !== view;
    view = market.bar.view;
    redraw("why");
    why.refresh();
    if (isNew) return again({ columns: true, order: true });
    if (market.bar.forming) return noted();
    if (isHeld()) order.due = true;
    again({ order: !order.due, look: true });
  }

  /** Rows that had to stay may move now, and those sorted by what moves have done so for long enough. */
  function settle() {
    if (!isHeld() && (order.due || order.restless)) again({ order: true });
  }

  function onClick(event) {
    const row = grid.rows.rowOf(event.target);
    if (row < 0) return;
    const { symbol } = market.symbols[row];
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (act === "watch") return toggleRowWatch(symbol);
    if (act === "more") return openRowMenu(event.target.closest("button"), row);
    const cell = event.target.closest("[data-why]");
    if (cell) return why.open(cell, row);
    // What opens another window is left to the browser.
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    cursor.open(symbol);
  }

  function onMenu(event) {
    const row = grid.rows.rowOf(event.target);
    if (row < 0) return;
    event.preventDefault();
    openRowMenu(event.target.closest(".row").querySelector(".more"), row);
  }

  function onScroll() {
    grid.rows.look();
    Object.assign(kept, { top: grid.element.scrollTop, left: grid.element.scrollLeft });
    hold.touch();
    nextFrame(moved);
  }

  function moved() {
    grid.rows.draw("place");
    grid.element.classList.toggle("moved", kept.left > 0);
  }

  function onPersonal(name) {
    if (name === "widths") again({ columns: true });
    else if (name === "watch" && state.get("only") !== "watch") noted();
    else if (["watch", "hidden", null].includes(name)) again({ order: true });
  }

  /** Columns say what they are once the catalogue is here; a hub that warms up has none to give yet. */
  function know() {
    factors().then(() => again({ columns: true }), () => undefined);
  }

  function onHello() {
    know();
    want();
    again({ columns: true, order: true });
  }

  const sized = new ResizeObserver(([entry]) => {
    grid.rows.setHeight(entry.contentRect.height - HEAD);
    // Now and not in the next frame: there would be nothing to be seen in this one.
    grid.rows.draw("all");
  });
  const ends = [
    market.subscribe("table", onTable),
    market.subscribe("symbols", () => again({ order: true })),
    market.subscribe("view", () => again({ columns: true })),
    market.subscribe("prices", () => (settle(), nextFrame(draw))),
    market.subscribe("spark", () => (redraw("spark"), noted())),
    market.subscribe("health", settle),
    market.subscribe("hello", onHello),
    market.subscribe("held", () => (toolbar.paused(), settle())),
    ...["stale", "asked", "failed"].map((kind) => market.subscribe(kind, noted)),
    live.on("status", noted),
    onColours(() => (redraw("spark", "why"), noted())),
    chosen.onNarrow(() => (want(), again({ columns: true }))),
    personal.subscribe(onPersonal),
    bind("r", { label: "keys.sort", group: "keys.table", act: () => again({ order: true }) }),
    bind("p", { label: "keys.pause", group: "keys.table", act: () => market.hold(!market.paused) }),
    bind(" ", { act: () => market.hold(!market.paused) }),
    ...cursor.ends,
    ...toolbar.ends,
  ];

  grid.element.addEventListener("click", onClick);
  grid.element.addEventListener("contextmenu", onMenu);
  grid.element.addEventListener("scroll", onScroll, { passive: true });
  know();
  want();
  draw();
  grid.element.scrollTo(kept.left, kept.top);
  sized.observe(grid.element);

  return {
    update(names) {
      const has = (name) => names.has(name);
      if (["cols", "preset", "sort"].some(has)) want();
      toolbar.refresh();
      again({ columns: stale.columns || COLUMNS.some(has), order: stale.order || LISTS.some(has), look: true });
    },

    unmount() {
      sized.disconnect();
      why.close();
      closePopover();
      market.wantSpark(false);
      for (const end of ends) end();
    },
  };
}
