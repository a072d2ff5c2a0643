/**
 * The line to the hub: one WebSocket, opened anew whenever it is lost.
 *
 * 1. While it is lost its status says so, why as far as it can be told, and when it is tried again.
 * 2. Pauses double from half a second to twenty, each drawn from its upper half, so that many pages do not come
 *    back at once.
 * 3. A browser does not say why a socket was refused, so a plain request asks: 401 wants the secret, 503 is a hub
 *    that warms up.
 */

import { address, needToken, token } from "./api.js";

const FIRST = 500;
const LONGEST = 20_000;
/** The hub says something every second. */
const SILENT = 15_000;
const SUBPROTOCOL = "klinehub";

const listeners = new Map();
let socket = null;
let timer = 0;
let watch = 0;
let heard = 0;
let pause = FIRST;
/** What the hub has to know again when the line is back: the newest message of each type. */
const wishes = new Map();
/** @type {Status} */
let status = { state: "connecting", since: Date.now(), retry: 0, message: "" };

/**
 * @typedef {object} Status
 * @property {"connecting"|"open"|"warming"|"lost"|"refused"} state warming: the hub is starting; lost: nobody answers;
 *   refused: a secret is needed
 * @property {number} since when this began, by the browser's clock
 * @property {number} retry when it is tried again, by the browser's clock; 0 while it is being tried
 * @property {string} message what was said
 */

function become(state, { retry = 0, message = "" } = {}) {
  const since = status.state === state ? status.since : Date.now();
  status = { state, since, retry, message };
  tell("status", status);
}

function tell(type, message) {
  for (const listener of listeners.get(type) ?? []) listener(message);
}

function connect() {
  clearTimeout(timer);
  const url = address("board/live");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const secret = token();
  const opened = (socket = new WebSocket(url, secret ? [SUBPROTOCOL, `bearer.${secret}`] : [SUBPROTOCOL]));
  let up = false;
  opened.onopen = () => {
    up = true;
    pause = FIRST;
    heard = Date.now();
    become("open");
    for (const message of wishes.values()) opened.send(JSON.stringify(message));
  };
  opened.onmessage = (event) => {
    heard = Date.now();
    const message = JSON.parse(event.data);
    tell(message.type, message);
  };
  opened.onclose = (event) => opened === socket && lost(up, event);
}

async function lost(wasUp, event) {
  socket = null;
  if (wasUp) return again("lost", event.reason || (event.code === 1006 ? "" : String(event.code)));
  const [state, message] = await why();
  if (state !== "refused") return again(state, message);
  become("refused", { message });
  await needToken();
  connect();
}

/** Ask by a plain request why there is no line. */
async function why() {
  const secret = token();
  try {
    const headers = secret ? { Authorization: `Bearer ${secret}` } : {};
    const answer = await fetch(address("readyz"), { headers, cache: "no-store" });
    if (answer.status === 401) return ["refused", ""];
    const said = await answer.text();
    // Ready or not for others, a hub that has warmed up takes this line.
    return answer.status === 503 && said.includes("warming up") ? ["warming", ""] : ["lost", ""];
  } catch {
    // Nobody answers at all, which is what the socket has said already.
    return ["lost", ""];
  }
}

function again(state, message) {
  const wait = state === "warming" ? 1_000 : pause * (0.5 + Math.random() / 2);
  pause = Math.min(LONGEST, pause * 2);
  become(state, { retry: Date.now() + wait, message });
  clearTimeout(timer);
  timer = setTimeout(connect, wait);
}

/** A line may be dead without anybody saying so: one that is silent is given up. */
function listen() {
  if (socket?.readyState === WebSocket.OPEN && Date.now() - heard > SILENT) socket.close(4000, "silent");
}

export const live = {
  /**
   * Be told of messages of one type; "status" is this module's own.
   * @param {string} type
   * @param {(message: any) => void} listener
   * @returns {() => void} ends it
   */
  on(type, listener) {
    if (!listeners.has(type)) listeners.set(type, new Set());
    listeners.get(type).add(listener);
    return () => listeners.get(type).delete(listener);
  },

  /**
   * Tell the hub something. The newest message of each type is told again when the line was lost.
   * @param {{type: string}} message
   */
  send(message) {
    wishes.set(message.type, message);
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  },

  /** @returns {Status} */
  status() {
    return status;
  },

  /** Open the line, and keep it open. */
  start() {
    clearInterval(watch);
    watch = setInterval(listen, 5_000);
    connect();
  },

  /** Try now instead of after the pause. */
  retry() {
    if (socket) return;
    pause = FIRST;
    become("connecting");
    connect();
  },
};
