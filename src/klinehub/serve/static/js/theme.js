/** Colours: dark or light by the system or as chosen, three pairs for up and down, and what canvases paint with. */

import { personal } from "./personal.js";
import { state } from "./state.js";

export const THEMES = ["", "dark", "light"];
export const PALETTES = ["", "swapped", "safe"];

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
let probe = null;
let colours = new Map();

/** @returns {string} "" for as the system has it, dark or light */
export function theme() {
  return state.get("theme") || personal.get("theme", "");
}

/** @returns {string} "" for green and red, swapped for red and green, safe for blue and orange */
export function palette() {
  return state.get("palette") || personal.get("palette", "");
}

/** @returns {boolean} whether the page is dark now */
export function isDark() {
  return theme() ? theme() === "dark" : system.matches;
}

/**
 * Choose a theme or a palette, for this and later visits.
 * @param {"theme"|"palette"} name
 * @param {string} value
 */
export function choose(name, value) {
  personal.set(name, value || undefined);
  state.set({ [name]: "" });
  apply();
}

/** Put the chosen colours on the page. */
export function apply() {
  for (const [name, value] of [["theme", theme()], ["palette", palette()]]) {
    if (value) root.dataset[name] = value;
    else delete root.dataset[name];
  }
  colours = new Map();
  for (const tell of listeners) tell();
}

/**
 * Give a colour of the page as a canvas takes it.
 * @param {string} name that of the variable without its dashes: up, down, muted …
 * @returns {string}
 */
export function colour(name) {
  let found = colours.get(name);
  if (found) return found;
  if (!probe) {
    probe = document.createElement("span");
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(--${name})`;
  found = getComputedStyle(probe).color;
  colours.set(name, found);
  return found;
}

/**
 * Be told when the colours are others.
 * @param {() => void} listener
 * @returns {() => void} ends it
 */
export function onColours(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

system.addEventListener("change", apply);
state.subscribe((names) => (names.has("theme") || names.has("palette")) && apply());
personal.subscribe((name) => name === null && apply());
