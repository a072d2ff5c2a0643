/**
 * What is marked on a chart: where a filter came to hold, and where alerts fired.
 */

/**
 * @typedef {{time: number, kind: "held"|"alert", side: string, count: number, names: string[]}} Mark
 *   `time` is the open time of the bar in ms; `names` are those of the rules that fired
 */

/**
 * Find the bars at which a filter came to hold: it holds there and did not before, or that is not known.
 * The first bar is none, since nothing is known of the one before.
 * @param {number[]} times open times
 * @param {(number|null)[]} holds 1 where it holds, 0 where not, null where that is not known
 * @returns {Mark[]}
 */
export function heldMarks(times, holds) {
  const marks = [];
  for (let i = 1; i < times.length; i += 1) {
    if (holds[i] === 1 && holds[i - 1] !== 1) marks.push({ time: times[i], kind: "held", side: "", count: 1, names: [] });
  }
  return marks;
}

/**
 * Put alerts on the bars in which they fired; several of one bar are one mark.
 *
 * An alert fires when a bar of its own timeframe has closed. Here it stands at the bar that closed then, or in
 * which that happened where bars are longer.
 * @param {{rule: string, side: string|null, time: number, bar_open_time: number, timeframe: string}[]} alerts
 * @param {number[]} times open times of the bars that are shown, rising
 * @param {(timeframe: string) => number} lengthOf how long a timeframe's bar is, in ms
 * @returns {Mark[]}
 */
export function alertMarks(alerts, times, lengthOf) {
  const marks = new Map();
  for (const alert of alerts) {
    const at = barOf(times, alert.bar_open_time + lengthOf(alert.timeframe) - 1);
    if (at < 0) continue;
    const known = marks.get(at) ?? { time: times[at], kind: "alert", side: alert.side ?? "", count: 0, names: [] };
    known.count += 1;
    if (known.side !== (alert.side ?? "")) known.side = "";
    if (!known.names.includes(alert.rule)) known.names.push(alert.rule);
    marks.set(at, known);
  }
  return [...marks.values()].sort((a, b) => a.time - b.time);
}

/**
 * Find the bar in which a moment lies: the last one that opens at it or before.
 * @param {number[]} times open times, rising
 * @param {number} moment
 * @returns {number} -1 where all of them open later
 */
export function barOf(times, moment) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= moment) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
