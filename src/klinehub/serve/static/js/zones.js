/** Wall clocks: what a clock of a time zone shows at a moment, and the moment at which it shows that. */

const HOUR = 3_600_000;
const clocks = new Map();
/** Offsets by hour; no zone changes its clocks more often. */
const offsets = new Map();
const MOST_OFFSETS = 50_000;

/**
 * Give what the clock of a zone shows, as the ms UTC at which a clock of UTC shows the same.
 * @param {number} ms
 * @param {string} zone an IANA name; one that the browser does not know is UTC
 * @returns {number}
 */
export function wall(ms, zone) {
  if (zone === "UTC") return ms;
  const key = `${zone} ${Math.floor(ms / HOUR)}`;
  let offset = offsets.get(key);
  if (offset === undefined) {
    if (offsets.size >= MOST_OFFSETS) offsets.clear();
    offsets.set(key, (offset = offsetAt(Math.floor(ms / HOUR) * HOUR, zone)));
  }
  return ms + offset;
}

/**
 * Give the moment at which the clock of a zone shows something; of two, when clocks are put back, the first.
 * @param {number} shown as of `wall`
 * @param {string} zone
 * @returns {number}
 */
function instant(shown, zone) {
  const first = shown - (wall(shown - 12 * HOUR, zone) - (shown - 12 * HOUR));
  if (wall(first, zone) === shown) return first;
  return shown - (wall(shown + 12 * HOUR, zone) - (shown + 12 * HOUR));
}

function offsetAt(ms, zone) {
  const parts = Object.fromEntries(clock(zone).formatToParts(ms).map((part) => [part.type, Number(part.value)]));
  const { year, month, day, hour, minute, second } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) - ms;
}

function clock(zone) {
  let found = clocks.get(zone);
  if (found) return found;
  const number = "numeric";
  const style = { year: number, month: number, day: number, hour: number, minute: number, second: number, hourCycle: "h23" };
  try {
    found = new Intl.DateTimeFormat("en-US", { ...style, timeZone: zone });
  } catch {
    // The browser does not know the zone: i18n.js shows UTC then too.
    found = new Intl.DateTimeFormat("en-US", { ...style, timeZone: "UTC" });
  }
  clocks.set(zone, found);
  return found;
}

/**
 * Write a moment as a field for date and time takes it.
 * @param {number} ms
 * @param {string} zone
 * @returns {string} for example 2026-03-05T14:30
 */
export function toField(ms, zone) {
  return new Date(wall(ms, zone)).toISOString().slice(0, 16);
}

/**
 * Read what a field for date and time holds.
 * @param {string} text
 * @param {string} zone
 * @returns {number} NaN where it holds nothing
 */
export function fromField(text, zone) {
  const shown = Date.parse(`${text}Z`);
  return Number.isNaN(shown) ? NaN : instant(shown, zone);
}
