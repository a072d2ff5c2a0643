/**
 * The views of the page by their names, each loaded when it is first shown, and what stands beside all of them.
 *
 * A view's module exports `mount(container)`, which gives `{update(names), unmount()}`: `update` gets the set of names
 * of the state that have changed. What stands beside them exports `install(corner)`, called once with the place in
 * the top bar where its button goes.
 */

/** @typedef {{update: (names: Set<string>) => void, unmount: () => void}} View */

/**
 * `title` is the key of its name; one with `tab` has a place among the tabs of the top bar.
 * @type {Record<string, {title: string, tab: boolean, load: () => Promise<{mount: (container: HTMLElement) => View}>}>}
 */
export const VIEWS = {
  table: { title: "view.table", tab: true, load: () => import("./table.js") },
  map: { title: "view.map", tab: true, load: () => import("./heatmap.js") },
  wall: { title: "view.wall", tab: true, load: () => import("./wall.js") },
  symbol: { title: "view.symbol", tab: false, load: () => import("./symbol.js") },
};

/** @type {(() => Promise<{install: (corner: HTMLElement) => void}>)[]} */
export const EXTRAS = [() => import("./moment.js"), () => import("./alerts.js")];
