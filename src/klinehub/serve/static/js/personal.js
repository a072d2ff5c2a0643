/** What belongs to this browser and no link: watchlist, hidden symbols, column sets, language, look, zone. */

const KEY = "klinehub.board";
const listeners = new Set();
let kept = read();

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    // A browser may refuse storage, and others may have written there: the page works without.
    return {};
  }
}

function write() {
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // As above: it is kept for as long as the page is open.
  }
}

addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  kept = read();
  for (const tell of listeners) tell(null);
});

export const personal = {
  /**
   * Give what is kept under a name.
   * @template T
   * @param {string} name
   * @param {T} fallback
   * @returns {T}
   */
  get(name, fallback) {
    const found = kept[name];
    return found === undefined || (Array.isArray(fallback) && !Array.isArray(found)) ? fallback : found;
  },

  /**
   * Keep a value; undefined forgets it.
   * @param {string} name
   * @param {any} value
   */
  set(name, value) {
    kept = { ...kept, [name]: value };
    write();
    for (const tell of listeners) tell(name);
  },

  /**
   * Put a text on a list, or take it off.
   * @param {string} name
   * @param {string} item
   * @returns {boolean} whether it is on the list now
   */
  toggle(name, item) {
    const list = this.get(name, []);
    const on = !list.includes(item);
    this.set(name, on ? [...list, item] : list.filter((one) => one !== item));
    return on;
  },

  /**
   * Be told of changes, also of those in another window.
   * @param {(name: string|null) => void} listener gets the name, null where any may have changed
   * @returns {() => void} ends it
   */
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};
