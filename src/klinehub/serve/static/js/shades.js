/**
 * Colours for numbers: which span of values a map's colours stand for, and the colour of each value.
 *
 * Values with a sign, and values with bounds such as an RSI, go both ways from a neutral middle; other
 * values go one way, from the neutral colour to the accent.
 */

/**
 * @typedef {{low: number, middle: number, high: number}} Span `middle` equals `low` for values that go one way
 * @typedef {{neutral: string, up: string, down: string, accent: string}} Palette colours as theme.js gives them
 */

// What is beyond is an outlier: it has the strongest colour, and the others keep theirs.
const SHARE = 0.95;
// Black or white: one of them always has a contrast of 4.5 and more.
const INK = "rgb(0, 0, 0)";
const BOUNDS = /^(-?[\d.]+) to (-?[\d.]+)(?:[;,]|$)/;

/**
 * Choose the span for values.
 * @param {Iterable<number|null>} values
 * @param {string} range what the factor's document says of its range, for instance "0 to 100; 50 is …"
 * @returns {Span}
 */
export function spanOf(values, range = "") {
  const bounds = BOUNDS.exec(range);
  if (bounds) {
    const [low, high] = [Number(bounds[1]), Number(bounds[2])];
    return { low, middle: (low + high) / 2, high };
  }
  const known = [...values].filter((v) => Number.isFinite(v)).sort((a, b) => a - b);
  if (!known.length) return { low: -1, middle: 0, high: 1 };
  const at = (share) => known[Math.round(share * (known.length - 1))];
  if (known[0] < 0) {
    const high = rounded(Math.max(Math.abs(at(1 - SHARE)), Math.abs(at(SHARE)))) || 1;
    return { low: -high, middle: 0, high };
  }
  const [low, high] = [at(1 - SHARE), at(SHARE)];
  return { low, middle: low, high: high > low ? high : low + 1 };
}

/** Round up to 1, 2, 3, 5 or 8 of a power of ten, so that a legend reads well and rarely changes. */
function rounded(value) {
  if (!(value > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 3, 5, 8, 10].find((one) => one * power >= value * 0.999999) ?? 10;
  return step * power;
}

/**
 * Give the colour of a value; unknown ones are neutral.
 * @param {Span} span
 * @param {number|null|undefined} value
 * @param {Palette} palette
 * @returns {string}
 */
export function shade(span, value, palette) {
  if (!Number.isFinite(value)) return palette.neutral;
  const oneWay = span.middle === span.low;
  const size = value >= span.middle ? span.high - span.middle : span.middle - span.low;
  const share = Math.min(1, Math.abs(value - span.middle) / size);
  if (oneWay) return mixed(palette.neutral, palette.accent, value > span.middle ? share : 0);
  return mixed(palette.neutral, value >= span.middle ? palette.up : palette.down, share);
}

/**
 * Mix two colours.
 * @param {string} from as "rgb(1, 2, 3)"
 * @param {string} to
 * @param {number} share 0 gives *from*, 1 gives *to*
 * @returns {string}
 */
export function mixed(from, to, share) {
  const [a, b] = [parts(from), parts(to)];
  return `rgb(${a.map((one, k) => Math.round(one + (b[k] - one) * share)).join(", ")})`;
}

/**
 * Give a colour that lets shine through what is behind.
 * @param {string} from as "rgb(1, 2, 3)"
 * @param {number} alpha 0 to 1
 * @returns {string}
 */
export function faded(from, alpha) {
  return `rgba(${parts(from).join(", ")}, ${alpha})`;
}

/**
 * Give the text colour that reads best on a colour.
 * @param {string} background as "rgb(1, 2, 3)"
 * @returns {string}
 */
export function inkOn(background) {
  const light = luminance(background);
  return 1.05 / (light + 0.05) >= (light + 0.05) / (luminance(INK) + 0.05) ? "rgb(255, 255, 255)" : INK;
}

function parts(colour) {
  return colour.match(/[\d.]+/g).slice(0, 3).map(Number);
}

function luminance(colour) {
  const [r, g, b] = parts(colour).map((one) => {
    const c = one / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
