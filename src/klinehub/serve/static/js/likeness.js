/** Likeness: what came after scores like this one on history, as the hub had it calibrated, or that nobody knows. */

import { h } from "./dom.js";
import { formatNumber, formatTime, t } from "./i18n.js";
import { market } from "./market.js";

/** Fewer hits, or hits of fewer days, are too few to go by; the hub says the same. */
const FEWEST_HITS = 100;
const FEWEST_DAYS = 30;

/**
 * Give the bucket that a score belongs to.
 * @template {{high: number|null}} Bucket
 * @param {Bucket[]} buckets the lowest first, the last one open
 * @param {number} score
 * @returns {Bucket|undefined} nothing where there are none
 */
export function bucketOf(buckets, score) {
  return buckets.find((bucket) => bucket.high === null || score < bucket.high);
}

/**
 * Give the median return in percent that came after scores like this, over the middle horizon.
 * @param {number} score
 * @returns {number} NaN where nothing is known
 */
export function medianOf(score) {
  const outcomes = found(score)?.outcomes;
  const median = outcomes?.[Math.floor(outcomes.length / 2)].median;
  return typeof median === "number" ? 100 * median : NaN;
}

function found(score) {
  const known = market.evidence[market.bar?.timeframe ?? ""];
  return known && !Number.isNaN(score) ? bucketOf(known.buckets, score) : undefined;
}

/**
 * Write what came after scores like this on the timeframe of the table.
 * @param {number} score
 * @returns {HTMLElement}
 */
export function likeness(score) {
  const timeframe = market.bar?.timeframe ?? "";
  const known = market.evidence[timeframe];
  const bucket = found(score);
  if (!bucket) return h("p.muted.like", { title: t("like.none.title") }, t("like.none", { timeframe }));
  const days = [known.start, known.end - 1].map((time) => formatTime(time, "day")).join("..");
  const sample = { hits: whole(bucket.n), count: whole(bucket.days), days };
  const thin = bucket.n < FEWEST_HITS || bucket.days < FEWEST_DAYS;
  return h("div.like", {},
    h("p", {}, t("like.title", { range: range(bucket) })),
    h("ul", {}, bucket.outcomes.map((one) => h("li", {}, line(one)))),
    h("p.muted", {}, t("like.sample", sample), thin ? h("b", {}, ` ${t("like.thin")}`) : null));
}

function range({ low, high }) {
  const [from, to] = [low, high].map((end) => formatNumber(end, "points"));
  if (low === null) return high === null ? t("like.any") : t("like.below", { to });
  return high === null ? t("like.above", { from }) : t("like.between", { from, to });
}

function line({ bars, median, interval, hit_rate }) {
  if (median === null) return t("like.unknown", { bars: whole(bars) });
  const ends = interval ? ` [${interval.map((end) => formatNumber(100 * end, "percent")).join(", ")}]` : "";
  const rate = `${formatNumber(100 * hit_rate, "whole")}%`;
  return t("like.line", { bars: whole(bars), median: formatNumber(100 * median, "percent"), ends, rate });
}

function whole(value) {
  return formatNumber(value, "whole");
}
