/**
 * The state of the page, kept in its address: what differs from the usual is in the query, so that a link shows
 * others the same. Going somewhere makes an entry of the history (`push`), small changes replace the newest.
 */

const KINDS = {
  text: { read: (text) => text, write: (value) => value },
  number: { read: (text) => Number(text) || 0, write: String },
  flag: { read: (text) => text === "1", write: (value) => (value ? "1" : "") },
  list: { read: split, write: (value) => value.join(",") },
};

/** What each name is if the address does not say: null is "as the preset says". */
const known = new Map();
const listeners = new Set();
let values = {};

/**
 * Split a list at the commas that stand outside of brackets: `macd(12, 21),rsi`.
 * @param {string} text
 * @returns {string[]}
 */
export function split(text) {
  const found = [];
  let depth = 0;
  let begin = 0;
  for (let i = 0; i <= text.length; i++) {
    if (text[i] === "(") depth++;
    else if (text[i] === ")") depth--;
    else if (i === text.length || (text[i] === "," && depth <= 0)) {
      const one = text.slice(begin, i).trim();
      if (one) found.push(one);
      begin = i + 1;
    }
  }
  return found;
}

/**
 * Name a part of the state. What a name has in the address is read at once.
 * @param {string} name
 * @param {"text"|"number"|"flag"|"list"} kind
 * @param {any} usual its value where the address does not say
 */
function define(name, kind, usual) {
  known.set(name, { kind: KINDS[kind], usual });
  values[name] = readOne(name, new URLSearchParams(location.search));
}

function readOne(name, query) {
  const { kind, usual } = known.get(name);
  return query.has(name) ? kind.read(query.get(name)) : usual;
}

function same(a, b) {
  return Array.isArray(a) && Array.isArray(b) ? a.length === b.length && a.every((one, i) => one === b[i]) : a === b;
}

function written(of) {
  const query = new URLSearchParams(location.search);
  for (const [name, { kind, usual }] of known) {
    if (same(of[name], usual)) query.delete(name);
    else query.set(name, kind.write(of[name]));
  }
  // Brackets, commas and signs are what links here are made of: they stay readable.
  const text = query.toString().replace(/%2C/g, ",").replace(/%28/g, "(").replace(/%29/g, ")").replace(/%3A/g, ":");
  return text ? `?${text}` : location.pathname;
}

function changed(before) {
  const names = new Set([...known.keys()].filter((name) => !same(before[name], values[name])));
  if (names.size) for (const tell of listeners) tell(names);
}

addEventListener("popstate", () => {
  const before = values;
  const query = new URLSearchParams(location.search);
  values = Object.fromEntries([...known.keys()].map((name) => [name, readOne(name, query)]));
  changed(before);
});

export const state = {
  define,

  /**
   * Give a part of the state.
   * @param {string} name
   * @returns {any}
   */
  get(name) {
    return values[name];
  },

  /**
   * Give what a part is where the address does not say.
   * @param {string} name
   * @returns {any}
   */
  usual(name) {
    return known.get(name).usual;
  },

  /**
   * Change parts of the state, in the address too.
   * @param {Record<string, any>} patch
   * @param {{push?: boolean}} [options] `push` for going somewhere: the way back is kept
   */
  set(patch, { push = false } = {}) {
    const before = values;
    values = { ...values, ...patch };
    const address = written(values);
    if (push) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    changed(before);
  },

  /**
   * Give the address of this page with other parts.
   * @param {Record<string, any>} patch
   * @returns {string}
   */
  href(patch) {
    return written({ ...values, ...patch });
  },

  /**
   * Be told which parts have changed.
   * @param {(names: Set<string>) => void} listener
   * @returns {() => void} ends it
   */
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

define("view", "text", "table");
define("tf", "text", "");
define("symbol", "text", "");
define("preset", "text", "");
define("where", "text", null);
define("cols", "list", null);
define("sort", "text", null);
define("pin", "list", []);
define("find", "text", "");
define("only", "text", "");
define("cat", "list", []);
define("at", "number", 0);
define("forming", "flag", false);
define("theme", "text", "");
define("palette", "text", "");
define("lang", "text", "");
define("zone", "text", "");
