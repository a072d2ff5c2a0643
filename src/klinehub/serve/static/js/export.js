/** Saving what is shown: these rows, these columns, this order, as numbers and not as they are written. */

import { h, popover, tell } from "./dom.js";
import { t } from "./i18n.js";
import { market } from "./market.js";
import { where } from "./chosen.js";

const TYPES = { csv: "text/csv;charset=utf-8", json: "application/json", parquet: "application/vnd.apache.parquet" };

/**
 * Give what is shown as columns of plain values. The picture of the closes is none; the score's reasons are one
 * column for each part.
 * @param {{rows: () => number[], columns: () => import("./columns.js").Column[]}} table
 * @returns {{name: string, values: (string|number|null)[]}[]}
 */
export function plainColumns(table) {
  const rows = table.rows();
  const plain = (value) => (Number.isNaN(value) ? null : value);
  return table.columns().flatMap((column) => {
    if (column.kind === "spark") return [];
    if (column.kind !== "why") return [{ name: column.key, values: rows.map((row) => plain(column.value(row))) }];
    return Object.entries(market.parts).map(([name, points]) => ({ name: `why.${name}`, values: rows.map((row) => plain(points[row])) }));
  });
}

/** Spreadsheets take what begins like this for a formula, and a listing may be named so. */
const FORMULA = /^[=+\-@\t\r]/;

function quoted(value) {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

/**
 * Write columns as CSV.
 * @param {{name: string, values: (string|number|null)[]}[]} columns
 * @returns {string}
 */
export function csv(columns) {
  const size = columns[0]?.values.length ?? 0;
  const lines = [columns.map((column) => quoted(column.name)).join(",")];
  for (let i = 0; i < size; i++) lines.push(columns.map((column) => quoted(column.values[i])).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

/** JSON says besides what the numbers are of. */
function json(columns) {
  const size = columns[0]?.values.length ?? 0;
  const rows = Array.from({ length: size }, (_, i) => Object.fromEntries(columns.map((column) => [column.name, column.values[i]])));
  const { timeframe, open_time, close_time, forming } = market.bar;
  return JSON.stringify({ exchange: market.hello.exchange, time: market.time, timeframe, open_time, close_time, forming, where: where(), rows }, null, 1);
}

async function parquet(columns) {
  const { parquetWriteBuffer } = await import("../vendor/parquet.js");
  const columnData = columns.map(({ name, values }) => ({ name, data: values, type: values.some((value) => typeof value === "string") ? "STRING" : "DOUBLE", nullable: true }));
  return parquetWriteBuffer({ columnData });
}

const WRITERS = { csv, json, parquet };

function download(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * Save what is shown.
 * @param {"csv"|"json"|"parquet"} format
 * @param {{rows: () => number[], columns: () => import("./columns.js").Column[]}} table
 */
export async function save(format, table) {
  const columns = plainColumns(table);
  const stamp = new Date(market.time).toISOString().slice(0, 19).replace(/[-:]/g, "");
  const exchange = market.hello.exchange.replace(/\W+/g, "-");
  const name = `klinehub-${exchange}-${market.bar.timeframe}-${stamp}Z.${format}`;
  try {
    download(name, TYPES[format], await WRITERS[format](columns));
    tell(t("export.done", { name, rows: columns[0]?.values.length ?? 0 }));
  } catch (error) {
    tell(t("export.failed", { message: error.message }));
  }
}

/**
 * Open the menu of formats.
 * @param {Element} anchor
 * @param {{rows: () => number[], columns: () => import("./columns.js").Column[]}} table
 */
export function openExport(anchor, table) {
  if (!market.bar) return tell(t("notice.loading"));
  const entry = (format) => h("button.button", { type: "button", role: "menuitem", onclick: () => (menu.close(true), save(format, table)) }, t(`export.${format}`));
  const menu = popover(anchor, h("div.menu", { role: "menu", "aria-label": t("export.title") },
    h("h3", {}, t("export.what", { rows: table.rows().length, columns: table.columns().length })), Object.keys(WRITERS).map(entry)), { role: "presentation" });
}
