/** Making elements: text goes in as text only, so nothing that an exchange says is ever read as markup. */

const SVG = "http://www.w3.org/2000/svg";

/** Line icons on a grid of 16, drawn for this page. */
const ICONS = {
  search: "M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 0 0 0-9zM10.3 10.3L14 14",
  star: "M8 1.8l1.9 3.9l4.3.6l-3.1 3l.7 4.3L8 11.6l-3.8 2l.7-4.3l-3.1-3l4.3-.6z",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  layers: "M8 2l6 3.2l-6 3.2l-6-3.2zM2 8l6 3.2L14 8M2 10.8L8 14l6-3.2",
  download: "M8 2v7.5M4.8 6.5L8 9.7l3.2-3.2M2.5 13.5h11",
  pause: "M5.2 3v10M10.8 3v10",
  play: "M4.5 2.8l8 5.2l-8 5.2z",
  sliders: "M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7M10.5 3v3M5.5 10v3",
  sun: "M8 5a3 3 0 1 0 0 6a3 3 0 0 0 0-6zM8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M13 3l-1.2 1.2M4.2 11.8L3 13",
  moon: "M13.4 9.8A5.8 5.8 0 0 1 6.2 2.6a5.8 5.8 0 1 0 7.2 7.2z",
  help: "M8 1.8a6.2 6.2 0 1 0 0 12.4a6.2 6.2 0 0 0 0-12.4zM6.2 6.3a1.8 1.8 0 1 1 2.6 1.6c-.6.3-.8.6-.8 1.3M8 11.3v.4",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  copy: "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
  link: "M9 2.5h4.5V7M13.5 2.5L7.5 8.5M12 9.5v4H2.5V4h4",
  bell: "M4 11V7a4 4 0 0 1 8 0v4l1.2 1.5H2.8zM6.7 14h2.6",
  hide: "M1.8 8S4 3.8 8 3.8S14.2 8 14.2 8S12 12.2 8 12.2S1.8 8 1.8 8zM2.5 13.5l11-11",
  pin: "M6 2h4l-.5 4.5L12 9H4l2.5-2.5zM8 9v5",
  grip: "M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01",
  plus: "M8 3v10M3 8h10",
  check: "M3 8.5l3.2 3.2L13 4.8",
  down: "M4 6l4 4l4-4",
  left: "M10 3.5L5.5 8l4.5 4.5",
  right: "M6 3.5L10.5 8L6 12.5",
  sort: "M5 3v10M2.5 10.5L5 13l2.5-2.5M11 13V3M8.5 5.5L11 3l2.5 2.5",
  funnel: "M2 3h12L9.5 8.5v4.7l-3-1.4V8.5z",
  pulse: "M1.5 8h3l2-5l3 10l2-5h3",
  alert: "M8 2L14.5 13.5h-13zM8 6.5v3.2M8 11.6v.2",
  back: "M13.5 8h-11M6.5 4l-4 4l4 4",
  clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4a6.2 6.2 0 0 0 0-12.4zM8 4.5V8l2.5 1.8",
  pencil: "M10.8 2.7l2.5 2.5l-7.8 7.8l-3 .5l.5-3zM9.2 4.3l2.5 2.5",
  bin: "M2.5 4.3h11M6 4.3V2.5h4v1.8M4 4.3l.7 9.2h6.6l.7-9.2M6.7 7v4M9.3 7v4",
  send: "M14 2L2 7l4.5 2.2L14 2zM14 2L9.2 14L6.5 9.2",
};

/**
 * Make an element.
 * @param {string} tag its name, with classes after dots: `div.row.stale`
 * @param {Record<string, any>} [props] attributes; `on…` functions become listeners, `data` and `aria` objects
 *   their attributes, `text` its text, true an empty attribute, null and false none
 * @param {...(Node|string|number|null|undefined|false|any[])} children what stands in it; texts become text
 * @returns {any} the element
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) give(element, key, value);
  add(element, children);
  return element;
}

function give(element, key, value) {
  if (value === null || value === undefined || value === false) return;
  if (key.startsWith("on") && typeof value === "function") element.addEventListener(key.slice(2), value);
  else if (key === "class") element.classList.add(...String(value).split(" ").filter(Boolean));
  else if (key === "text") element.textContent = String(value);
  else if (key === "value") element.value = value;
  else if (key === "data" || key === "aria") {
    for (const [name, one] of Object.entries(value)) give(element, `${key}-${name}`, key === "aria" ? String(one) : one);
  } else element.setAttribute(key, value === true ? "" : String(value));
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Put other children into an element.
 * @param {Element} element
 * @param {...any} children as of `h`
 */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

/**
 * Draw an icon; it says nothing to a screen reader, so that what it stands on needs a name.
 * @param {keyof ICONS} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Make a button.
 * @param {{label: string, icon?: string, text?: string, class?: string, [more: string]: any}} options the label is
 *   what is read aloud and shown on hovering; `text` is what stands on it
 * @param {(event: Event) => void} act
 * @returns {HTMLButtonElement}
 */
export function button({ label, icon: drawn, text, class: classes = "", ...more }, act) {
  // What stands on a button is its name, also where it is hidden for want of room.
  const named = text === label ? { "aria-label": text } : { "aria-label": text ?? label, title: label };
  return h("button.button",
    { type: "button", class: classes, ...named, ...more, onclick: act }, drawn && icon(drawn), text && h("span.label", {}, text));
}

/**
 * Open a dialog over the page; it is closed by its button, by Escape and by a click beside it.
 * @param {{title: string, close: string, body: any, class?: string, onclose?: () => void}} options `close` is the
 *   label of the button that closes it
 * @returns {{element: HTMLDialogElement, close: () => void}}
 */
export function dialog({ title, close, body, class: classes = "", onclose }) {
  const leave = () => element.close();
  const heading = h("h2", { id: `dialog-${++count}` }, title);
  const element = h("dialog.dialog", { "aria-labelledby": heading.id },
    h("header", {}, heading, button({ label: close, icon: "close", class: "quiet" }, leave)), h("div.body", {}, body));
  if (classes) element.classList.add(...classes.split(" "));
  element.addEventListener("click", (event) => event.target === element && leave());
  element.addEventListener("close", () => (element.remove(), onclose?.()));
  document.body.append(element);
  element.showModal();
  return { element, close: leave };
}

let count = 0;
let open = null;

/**
 * Open a small panel beside an element; only one is open at a time. Escape, a click elsewhere and leaving close it.
 * @param {Element} anchor what it belongs to
 * @param {any} body
 * @param {{class?: string, label?: string, role?: string, onclose?: () => void, focus?: boolean}} [options]
 * @returns {{element: HTMLElement, close: () => void, place: () => void}}
 */
export function popover(anchor, body, { class: classes = "", label, role = "dialog", onclose, focus = true } = {}) {
  open?.close();
  const element = h("div.popover", { role, "aria-label": label, tabindex: "-1" }, body);
  if (classes) element.classList.add(...classes.split(" "));
  const outside = (event) => !element.contains(event.target) && !anchor.contains(event.target) && close(false);
  const key = (event) => event.key === "Escape" && (event.stopPropagation(), close(true));
  const place = () => beside(element, anchor);
  const close = (back) => {
    if (open?.element !== element) return;
    open = null;
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("keydown", key, true);
    removeEventListener("resize", place);
    element.remove();
    anchor.setAttribute("aria-expanded", "false");
    if (back) anchor.focus?.();
    onclose?.();
  };
  (anchor.closest("dialog") ?? document.body).append(element);
  open = { element, close, place };
  place();
  document.addEventListener("pointerdown", outside, true);
  document.addEventListener("keydown", key, true);
  addEventListener("resize", place);
  anchor.setAttribute("aria-expanded", "true");
  if (focus) (element.querySelector("[autofocus], input, button, [href], select") ?? element).focus();
  return open;
}

/** Close the panel that is open, if one is. */
export function closePopover() {
  open?.close();
}

function beside(element, anchor) {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = element;
  const below = at.bottom + 4;
  const top = below + height > innerHeight - 8 ? Math.max(8, at.top - height - 4) : below;
  const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
  element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

let told = null;

/**
 * Say something in passing, at the foot of the page and to screen readers.
 * @param {string} text
 */
export function tell(text) {
  const place = document.getElementById("told");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(told);
  told = setTimeout(() => place.classList.remove("shown"), 2500);
}
