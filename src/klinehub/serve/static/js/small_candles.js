/** Candles on a small canvas, with their volume behind them: no axes, only the course. */

import { faded } from "./shades.js";
import { colour } from "./theme.js";

const FOOT = 0.2;
const EDGE = 4;

/**
 * Draw bars as wide as the canvas is.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./chart.js").Bar[]} bars
 * @param {string} failure what is written where there are none
 */
export function drawCandles(canvas, bars, failure) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const dots = devicePixelRatio || 1;
  const size = [Math.round(width * dots), Math.round(height * dots)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const to = canvas.getContext("2d");
  to.setTransform(dots, 0, 0, dots, 0, 0);
  to.clearRect(0, 0, width, height);
  if (!bars.length) return failure && say(to, failure);
  const step = (width - 2 * EDGE) / bars.length;
  drawVolumes(to, bars, step, height);
  drawBars(to, bars, step, height * (1 - FOOT));
}

function drawVolumes(to, bars, step, height) {
  const most = Math.max(...bars.map((bar) => bar.volume)) || 1;
  to.fillStyle = faded(colour("muted"), 0.25);
  bars.forEach((bar, i) => {
    const tall = (bar.volume / most) * height * FOOT;
    to.fillRect(EDGE + i * step, height - tall, Math.max(1, step - 1), tall);
  });
}

function drawBars(to, bars, step, height) {
  const [low, high] = [Math.min(...bars.map((bar) => bar.low)), Math.max(...bars.map((bar) => bar.high))];
  const y = (price) => EDGE + (height - 2 * EDGE) * (high > low ? 1 - (price - low) / (high - low) : 0.5);
  const body = Math.max(1, Math.round(step * 0.66));
  bars.forEach((bar, i) => {
    const x = EDGE + (i + 0.5) * step;
    const [top, foot] = [y(Math.max(bar.open, bar.close)), y(Math.min(bar.open, bar.close))];
    to.fillStyle = colour(bar.close >= bar.open ? "up" : "down");
    to.fillRect(Math.round(x) - 0.5, y(bar.high), 1, Math.max(1, y(bar.low) - y(bar.high)));
    to.fillRect(Math.round(x) - body / 2, top, body, Math.max(1, foot - top));
  });
}

function say(to, text) {
  to.fillStyle = colour("muted");
  to.font = "12px sans-serif";
  to.fillText(text, EDGE, 20);
}
