/** Small pictures in cells: the course of the closes with the volume under it, and the parts of a score. */

import { market } from "./market.js";
import { colour } from "./theme.js";

const HEIGHT = 22;
const UNKNOWN = 255;
const TOP = 254;
/** How much of the height the volumes take. */
const FOOT = 7;

/**
 * Make a canvas that is sharp on this screen.
 * @param {number} width in pixels of the page
 * @returns {HTMLCanvasElement}
 */
export function canvas(width) {
  const element = document.createElement("canvas");
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  element.width = Math.round(width * ratio);
  element.height = Math.round(HEIGHT * ratio);
  element.style.width = `${width}px`;
  element.style.height = `${HEIGHT}px`;
  element.setAttribute("aria-hidden", "true");
  element.getContext("2d").scale(ratio, ratio);
  return element;
}

function size(element) {
  return [Number.parseFloat(element.style.width), HEIGHT];
}

/** @returns {boolean} whether the last known close is not below the first */
function risen(closes) {
  let first = UNKNOWN;
  let last = UNKNOWN;
  for (let i = 0; i < closes.length; i++) {
    const value = closes.charCodeAt(i);
    if (value === UNKNOWN) continue;
    if (first === UNKNOWN) first = value;
    last = value;
  }
  return last >= first;
}

/**
 * Draw the last closes of a row, and its volumes under them.
 * @param {HTMLCanvasElement} element
 * @param {number} row
 * @returns {"up"|"down"|""} where it went, nothing where it is not known
 */
export function drawSpark(element, row) {
  const brush = element.getContext("2d");
  const [width, height] = size(element);
  brush.clearRect(0, 0, width, height);
  const coded = market.spark?.closes[row];
  if (!coded) return "";
  const closes = atob(coded);
  const volumes = atob(market.spark.volumes[row] ?? "");
  const step = width / Math.max(1, closes.length);
  brush.fillStyle = colour("spark-volume");
  for (let i = 0; i < volumes.length; i++) {
    const value = volumes.charCodeAt(i);
    if (value !== UNKNOWN) brush.fillRect(i * step, height, Math.max(1, step - 0.6), (-value / TOP) * FOOT);
  }
  const way = risen(closes) ? "up" : "down";
  brush.strokeStyle = colour(way);
  brush.lineWidth = 1.2;
  brush.beginPath();
  trace(brush, closes, step, height);
  brush.stroke();
  return way;
}

function trace(brush, closes, step, height) {
  const room = height - FOOT / 2 - 3;
  let pen = false;
  for (let i = 0; i < closes.length; i++) {
    const value = closes.charCodeAt(i);
    if (value === UNKNOWN) {
      pen = false;
      continue;
    }
    const [x, y] = [(i + 0.5) * step, 1.5 + (1 - value / TOP) * room];
    if (pen) brush.lineTo(x, y);
    else brush.moveTo(x, y);
    pen = true;
  }
}

/**
 * Draw the parts of a score side by side in their usual order: up what adds, down what takes away.
 * @param {HTMLCanvasElement} element
 * @param {number} row
 */
export function drawParts(element, row) {
  const brush = element.getContext("2d");
  const [width, height] = size(element);
  brush.clearRect(0, 0, width, height);
  const names = Object.keys(market.parts);
  if (!names.length || Number.isNaN(market.score[row])) return;
  const most = Math.max(1, ...(market.hello?.parts ?? []).map((part) => Math.abs(part.weight)));
  const step = width / names.length;
  const middle = height / 2;
  brush.fillStyle = colour("line");
  brush.fillRect(0, middle - 0.5, width, 1);
  names.forEach((name, i) => {
    const points = market.parts[name][row];
    const size = Math.max(-1, Math.min(1, points / most)) * (middle - 1);
    if (Number.isNaN(size)) return;
    brush.fillStyle = colour(points >= 0 ? "up" : "down");
    brush.fillRect(i * step + 1, middle, Math.max(2, step - 2), -size);
  });
}
