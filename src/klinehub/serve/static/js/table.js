import { fill, h } from "./dom.js";
import { market } from "./market.js";

/** @param {HTMLElement} container */
export function mount(container) {
  market.want("table", ["rsi"]);
  const off = market.subscribe("table", () => fill(container, h("p", {}, `${market.symbols.length}`)));
  return { update() {}, unmount: off };
}
