/**
 * A chart's time axis in the zone of the reader: days, months and years begin when they begin there.
 *
 * The chart knows only UTC, where a day in Shanghai would begin at 08:00. What weighs a tick is therefore told to
 * it: how large the step of the wall clock is between a bar and the one before.
 */

import { language, zone } from "./i18n.js";
import { wall } from "./zones.js";

const MINUTE = 60_000;
// As the chart weighs its own: minutes, hours and their multiples.
const STEPS = [[33, 720], [32, 360], [31, 180], [30, 60], [22, 30], [21, 5], [20, 1]];
const [DAY, MONTH, YEAR] = [50, 60, 70];
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const STYLES = [{ year: "numeric" }, { month: "short" }, { day: "numeric" }, CLOCK];
let formats = { key: "", all: [] };

/**
 * Make the class of an axis.
 * @param {any} library the module of lightweight-charts
 * @returns {any} to be made and given to `createChartEx`
 */
export function timeScaleOf(library) {
  return class extends library.defaultHorzScaleBehavior() {
    fillWeightsForPoints(points, from = 0) {
      const shown = (i) => wall(this.key(points[i].time) * 1000, zone());
      for (let i = Math.max(1, from); i < points.length; i++) points[i].timeWeight = weight(shown(i), shown(i - 1));
      if (from === 0 && points.length > 1) points[0].timeWeight = weight(shown(0), 2 * shown(0) - shown(1));
    }
  };
}

/**
 * Weigh the step between two times of a wall clock.
 * @param {number} now ms
 * @param {number} before ms
 * @returns {number}
 */
export function weight(now, before) {
  const [a, b] = [new Date(now), new Date(before)];
  if (a.getUTCFullYear() !== b.getUTCFullYear()) return YEAR;
  if (a.getUTCMonth() !== b.getUTCMonth()) return MONTH;
  if (a.getUTCDate() !== b.getUTCDate()) return DAY;
  const step = STEPS.find(([, minutes]) => Math.floor(now / (minutes * MINUTE)) !== Math.floor(before / (minutes * MINUTE)));
  return step ? step[0] : 0;
}

/**
 * Write a tick in the language and the zone of the reader.
 * @param {number} time in seconds
 * @param {number} type 0 a year, 1 a month, 2 a day, else a time
 * @returns {string}
 */
export function tick(time, type) {
  const key = `${language()} ${zone()}`;
  if (formats.key !== key) formats = { key, all: STYLES.map((style) => formatOf(style)) };
  return formats.all[Math.min(type, 3)].format(wall(time * 1000, zone()));
}

function formatOf(style) {
  return new Intl.DateTimeFormat(language() === "zh" ? "zh-CN" : "en-GB", { ...style, timeZone: "UTC" });
}
