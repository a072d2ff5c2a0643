/** Lists: the watchlist, what is hidden, and the kinds of symbols that are shown. */

import { standing, sideOf } from "./columns.js";
import { market } from "./market.js";
import { personal } from "./personal.js";
import { state } from "./state.js";

/** What a symbol is counted among: each group's name, and the groups' members of a row. */
const GROUPS = {
  side: (row) => [sideOf(market.score[row])],
  state: (row) => statesOf(row),
  kind: (row) => [market.symbols[row].contract_type],
  type: (row) => [market.symbols[row].underlying_type],
  quote: (row) => [market.symbols[row].quote],
};

/**
 * Say to which of a group's kinds a row belongs first.
 * @param {number} row
 * @param {string} group side, state, kind, type or quote
 * @returns {string} nothing where it belongs to none
 */
export function kindOf(row, group) {
  return GROUPS[group]?.(row)[0] ?? "";
}

function statesOf(row) {
  const { isNew, ends, halted } = standing(row);
  const found = [market.stale.has(row) ? "stale" : "fresh"];
  if (isNew) found.push("new");
  if (ends) found.push("ending");
  if (halted) found.push("halted");
  if (market.warming.has(row)) found.push("warming");
  return found;
}

/**
 * Count the symbols of each kind, those that nobody belongs to left out.
 * @returns {Map<string, Map<string, number>>} by the name of the group and of the kind
 */
export function kinds() {
  const found = new Map(Object.keys(GROUPS).map((name) => [name, new Map()]));
  for (let row = 0; row < market.symbols.length; row++) {
    for (const [name, of] of Object.entries(GROUPS)) {
      for (const kind of of(row)) if (kind) found.get(name).set(kind, (found.get(name).get(kind) ?? 0) + 1);
    }
  }
  return found;
}

let sets = { key: "", watch: new Set(), hidden: new Set(), chosen: new Map() };

/** Sets are made anew only when a list has changed: they are asked for every row. */
function current() {
  const [watch, hidden, cat] = [personal.get("watch", []), personal.get("hidden", []), state.get("cat")];
  const key = `${watch}|${hidden}|${cat}`;
  if (key === sets.key) return sets;
  const chosen = new Map();
  for (const one of cat) {
    const [group, kind] = [one.slice(0, one.indexOf(":")), one.slice(one.indexOf(":") + 1)];
    if (group in GROUPS) chosen.set(group, (chosen.get(group) ?? new Set()).add(kind));
  }
  return (sets = { key, watch: new Set(watch), hidden: new Set(hidden), chosen });
}

/**
 * Say whether a row belongs to what is shown, apart from the filter.
 * @param {number} row
 * @returns {boolean}
 */
export function isListed(row) {
  const { watch, hidden, chosen } = current();
  const one = market.symbols[row];
  const only = state.get("only");
  if (only === "hidden" ? !hidden.has(one.symbol) : hidden.has(one.symbol)) return false;
  if (only === "watch" && !watch.has(one.symbol)) return false;
  const find = state.get("find").trim().toUpperCase();
  if (find && !one.symbol.toUpperCase().includes(find) && !one.pair.toUpperCase().includes(find)) return false;
  for (const [group, kinds] of chosen) if (!GROUPS[group](row).some((kind) => kinds.has(kind))) return false;
  return true;
}

/**
 * Choose a kind of symbols, or leave it.
 * @param {string} group
 * @param {string} kind
 */
export function toggleKind(group, kind) {
  const one = `${group}:${kind}`;
  const cat = state.get("cat");
  state.set({ cat: cat.includes(one) ? cat.filter((other) => other !== one) : [...cat, one] });
}

/**
 * Watch a symbol, or no more.
 * @param {string} symbol
 * @returns {boolean} whether it is watched now
 */
export function toggleWatch(symbol) {
  return personal.toggle("watch", symbol);
}

/**
 * Hide a symbol, or show it again.
 * @param {string} symbol
 * @returns {boolean} whether it is hidden now
 */
export function toggleHidden(symbol) {
  return personal.toggle("hidden", symbol);
}

/** Show all symbols again that the lists leave out; the filter stays. */
export function clearLists() {
  state.set({ find: "", only: "", cat: [] });
}
