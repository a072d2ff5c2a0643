/** Painting the map: tiles with their names and values, headlines of groups, and the scale of colours. */

import { t } from "./i18n.js";
import { market } from "./market.js";
import { inkOn, mixed, shade } from "./shades.js";
import { colour as paint, isDark } from "./theme.js";

const FONT = getComputedStyle(document.documentElement).getPropertyValue("--font") || "sans-serif";
const SMALLEST = 9;
const LARGEST = 22;
/** The value below a name is so much smaller. */
const BELOW = 0.68;
/** In the dark the strongest colours are deep enough for white letters on all of them. */
const DEEP = 0.62;
const SCALE = { width: 240, height: 28, bar: 8, margin: 30 };

/** @returns {import("./shades.js").Palette} */
function palette() {
  const deep = (name) => (isDark() ? mixed(paint("bg"), paint(name), DEEP) : paint(name));
  return { neutral: mixed(paint("bg"), paint("muted"), 0.22), up: deep("up"), down: deep("down"), accent: deep("accent") };
}

/** Make a canvas as large as it is shown, in the pixels of the screen. */
function sized(canvas, width, height) {
  const dots = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * dots), Math.round(height * dots)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const to = canvas.getContext("2d");
  to.setTransform(dots, 0, 0, dots, 0, 0);
  to.clearRect(0, 0, width, height);
  return to;
}

/**
 * Paint all tiles.
 * @param {HTMLCanvasElement} canvas
 * @param {{rows: number[], rects: any[], groups: any[], head: number, span: any, colour: any, marked: number}} looks
 */
export function drawMap(canvas, { rows, rects, groups, head, span, colour, marked }) {
  const { clientWidth: width, clientHeight: height } = canvas.parentElement;
  const to = sized(canvas, width, height);
  const colours = palette();
  rows.forEach((row, i) => {
    if (rects[i].w * rects[i].h > 0) drawTile(to, rects[i], row, colour, shade(span, colour.value(row), colours));
  });
  for (const group of groups) drawHead(to, group, head);
  if (marked >= 0 && rects[marked]) {
    const { x, y, w, h } = rects[marked];
    to.strokeStyle = paint("text");
    to.lineWidth = 2;
    to.strokeRect(x + 1, y + 1, w - 2, h - 2);
  }
}

function drawTile(to, { x, y, w, h }, row, colour, fill) {
  const stale = market.stale.has(row);
  to.globalAlpha = stale ? 0.45 : 1;
  to.fillStyle = fill;
  to.fillRect(x + 0.5, y + 0.5, Math.max(0, w - 1), Math.max(0, h - 1));
  to.globalAlpha = 1;
  const name = market.symbols[row].base || market.symbols[row].symbol;
  const size = fitting(to, name, 600, Math.min(LARGEST, h * 0.42), w - 6);
  if (!size) return;
  to.fillStyle = inkOn(stale ? mixed(paint("bg"), fill, 0.45) : fill);
  to.textAlign = "center";
  to.textBaseline = "middle";
  const text = colour.write(colour.value(row), row);
  const small = h > size * 2.1 ? fitting(to, text, 400, Math.max(SMALLEST, size * BELOW), w - 6) : 0;
  to.font = `600 ${size}px ${FONT}`;
  to.fillText(name, x + w / 2, y + h / 2 - (small ? small * 0.62 : 0));
  if (!small) return;
  to.font = `400 ${small}px ${FONT}`;
  to.fillText(text, x + w / 2, y + h / 2 + size * 0.58);
}

/** Find the size at which a text fits into a width, 0 where it would be too small to read. */
function fitting(to, text, weight, most, width) {
  const size = Math.floor(most);
  if (size < SMALLEST) return 0;
  to.font = `${weight} ${size}px ${FONT}`;
  const needed = to.measureText(text).width;
  const found = needed <= width ? size : Math.floor((size * width) / needed);
  return found < SMALLEST ? 0 : found;
}

function drawHead(to, { name, rect, head }, height) {
  to.strokeStyle = paint("bg");
  to.lineWidth = 2;
  to.strokeRect(rect.x, rect.y, rect.w, rect.h);
  if (!head) return;
  to.fillStyle = paint("muted");
  to.font = `500 11px ${FONT}`;
  to.textAlign = "left";
  to.textBaseline = "middle";
  to.save();
  to.beginPath();
  to.rect(rect.x, rect.y, rect.w - 4, height);
  to.clip();
  to.fillText(name, rect.x + 4, rect.y + height / 2 + 1);
  to.restore();
}

/**
 * Paint the scale of colours with the values at its ends and its middle.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./shades.js").Span} span
 * @param {import("./columns.js").Column} column
 */
export function drawLegend(canvas, span, column) {
  const to = sized(canvas, SCALE.width, SCALE.height);
  const colours = palette();
  const steps = 44;
  const [left, width] = [SCALE.margin, SCALE.width - 2 * SCALE.margin];
  for (let i = 0; i < steps; i++) {
    to.fillStyle = shade(span, span.low + ((span.high - span.low) * i) / (steps - 1), colours);
    to.fillRect(left + (width * i) / steps, 0, width / steps + 0.5, SCALE.bar);
  }
  const values = span.middle === span.low ? [span.low, span.high] : [span.low, span.middle, span.high];
  const texts = values.map((value) => column.write(value, 0));
  to.fillStyle = paint("muted");
  to.font = `11px ${FONT}`;
  to.textBaseline = "top";
  to.textAlign = "center";
  texts.forEach((text, i) => to.fillText(text, left + (width * i) / (values.length - 1), SCALE.bar + 4));
  canvas.setAttribute("aria-label", t("map.scale", { column: column.title, low: texts[0], high: texts.at(-1) }));
}
