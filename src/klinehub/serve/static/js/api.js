/** Asking the hub: every address is relative to the page's own, so that a secret path in front stays in front. */

const TOKEN = "klinehub.token";
let asks = null;
let wanted = null;

/** What a request came to that was not answered as asked: `error` is its kind, `status` 0 where nobody answered. */
export class Refused extends Error {
  /** @param {{error: string, message: string, status: number}} told */
  constructor({ error, message, status }) {
    super(message);
    this.error = error;
    this.status = status;
  }
}

/** @returns {string} the secret of this visit, nothing where none is needed or known */
export function token() {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return memory;
  }
}

let memory = "";

/**
 * Keep the secret for as long as this window is open.
 * @param {string} text
 */
export function keepToken(text) {
  memory = text;
  try {
    sessionStorage.setItem(TOKEN, text);
  } catch {
    // A browser may refuse storage: then it is kept until the page is left.
  }
}

/**
 * Say who asks the reader for the secret when it is needed.
 * @param {() => Promise<void>} ask resolves when there is another one to try
 */
export function onUnauthorized(ask) {
  asks = ask;
}

/** Ask the reader for the secret, once however many need it. @returns {Promise<void>} */
export function needToken() {
  wanted ??= Promise.resolve(asks?.()).finally(() => (wanted = null));
  return wanted;
}

/**
 * Give the whole address of a path of the hub.
 * @param {string} path without a slash in front, for example api/v1/factors
 * @param {Record<string, any>} [params] those that are null or undefined are left out
 * @returns {URL}
 */
export function address(path, params = {}) {
  const url = new URL(path, new URL(".", location.href));
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

/**
 * Ask for JSON.
 * @param {string} path for example api/v1/factors
 * @param {Record<string, any>} [params]
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>} rejects with `Refused`, and with AbortError when it was no longer wanted
 */
export function getJson(path, params, { signal } = {}) {
  return asked(address(path, params), { signal });
}

/**
 * Send JSON.
 * @param {string} path
 * @param {any} body
 * @returns {Promise<any>} rejects with `Refused`
 */
export function postJson(path, body) {
  const headers = { "Content-Type": "application/json", "X-Klinehub": "1" };
  return asked(address(path), { method: "POST", headers, body: JSON.stringify(body) });
}

async function asked(url, options) {
  const answer = await reach(url, options);
  if (answer.status === 401) {
    await needToken();
    return asked(url, options);
  }
  const text = await answer.text();
  const said = parsed(text);
  if (answer.ok && said !== undefined) return said;
  const message = said?.message ?? (text.slice(0, 300) || answer.statusText);
  throw new Refused({ error: said?.error ?? `HTTP ${answer.status}`, message, status: answer.status });
}

async function reach(url, options) {
  const secret = token();
  const headers = { ...options.headers, ...(secret && { Authorization: `Bearer ${secret}` }) };
  try {
    return await fetch(url, { ...options, headers, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ error: "Unreachable", message: error.message, status: 0 });
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
