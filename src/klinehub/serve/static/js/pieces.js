/** Pieces that several views are made of: links within the page, buttons with a text, numbers with a sign. */

import { button, h } from "./dom.js";
import { t } from "./i18n.js";
import { state } from "./state.js";

/**
 * Make a link to another place of the page; with a key held down the browser opens it elsewhere, as any link.
 * @param {string} tag "a" with classes after dots
 * @param {Record<string, any>} there the parts of the state that are other there
 * @param {{props?: Record<string, any>, before?: () => void}} options `before` is called when the reader goes there
 * @param {...any} children
 * @returns {HTMLAnchorElement}
 */
export function pageLink(tag, there, { props = {}, before } = {}, ...children) {
  const onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    before?.();
    state.set(there, { push: true });
  };
  const link = h(tag, { href: state.href(there), onclick, ...props }, children);
  // What else the address says may have changed since: a link that is opened elsewhere says it too.
  const renew = () => link.setAttribute("href", state.href(there));
  link.addEventListener("pointerenter", renew);
  link.addEventListener("focus", renew);
  return link;
}

/**
 * Make a button with its text on it.
 * @param {string} key of the text
 * @param {() => void} act
 * @param {Record<string, any>} [more] as of `button`
 * @returns {HTMLButtonElement}
 */
export function textButton(key, act, more = {}) {
  return button({ label: t(key), text: t(key), class: "framed", ...more }, act);
}

/**
 * Give the class of a number with a sign.
 * @param {number|null|undefined} value
 * @returns {"up"|"down"|""}
 */
export function tone(value) {
  if (value > 0) return "up";
  return value < 0 ? "down" : "";
}

/**
 * Write a number in the colour of its sign.
 * @param {number|null|undefined} value
 * @param {string} text
 * @returns {HTMLElement}
 */
export function toned(value, text) {
  return h("span", { class: tone(value) }, text);
}

/**
 * Write the side of an alert or a score.
 * @param {string|null} side long, short, flat or nothing
 * @returns {HTMLElement|null}
 */
export function sideWord(side) {
  return side ? toned({ long: 1, short: -1 }[side], t(`side.${side}`)) : null;
}
