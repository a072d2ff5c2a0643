/** What the page knows of alerts: the rules, the targets, and the newest entries of the log. */

import { getJson, postJson } from "./api.js";
import { market } from "./market.js";
import { personal } from "./personal.js";

/** Older ones are in the log of the hub: the page keeps what somebody reads. */
export const MOST = 500;
/** What a rule is made of; the rest is what the hub knows of it. */
const TEXT = [
  "name", "where", "screen", "timeframe", "symbols", "clear", "cooldown", "forming", "min_score", "side", "to", "enabled",
];
const listeners = new Set();

/**
 * @typedef {{name: string, where: string, screen: string, timeframe: string, symbols: string[], clear: string,
 *   cooldown: number, forming: boolean, min_score: number, side: string, to: string[], enabled: boolean,
 *   origin: "file"|"board", failure: string, armed: number, fired: number}} Rule
 */

export const book = {
  /** @type {Rule[]} */
  rules: [],
  /** @type {any[]} */
  targets: [],
  /** @type {any[]} newest first */
  log: [],
  /** Why the newest asking came to nothing, nothing where it did not. */
  failure: "",
  /** Whether anything was told yet. */
  known: false,

  /**
   * Be told when something of it has changed.
   * @param {(what: "log"|"rules"|"targets") => void} listener
   * @returns {() => void} ends it
   */
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },

  /** @returns {number} how many alerts nobody has looked at yet */
  get unread() {
    const seen = personal.get("alertsSeen", 0);
    return this.log.reduce((count, one) => count + Number(one.id > seen), 0);
  },

  /** The reader has seen the log. */
  seen() {
    const newest = this.log[0]?.id ?? 0;
    if (newest && newest !== personal.get("alertsSeen", 0)) personal.set("alertsSeen", newest);
    tell("log");
  },

  /** Ask for the newest of the log, with what became of each. */
  async loadLog() {
    await asked(async () => {
      const before = new Set(this.log.map((one) => one.id));
      const rows = await getJson("api/v1/alerts", { limit: MOST });
      // What was told meanwhile may have fired after the log was read.
      const known = new Set([...before, ...rows.map((one) => one.id)]);
      const told = this.log.filter((one) => !known.has(one.id));
      this.log = [...told, ...rows].sort((a, b) => b.id - a.id).slice(0, MOST);
      this.known = true;
      // Another hub, or a log that was begun anew, counts from one again.
      if (personal.get("alertsSeen", 0) > (this.log[0]?.id ?? Infinity)) personal.set("alertsSeen", 0);
    });
    tell("log");
  },

  async loadRules() {
    await asked(async () => (this.rules = await getJson("api/v1/rules")));
    tell("rules");
  },

  async loadTargets() {
    await asked(async () => (this.targets = await getJson("api/v1/targets")));
    tell("targets");
  },

  /**
   * Make a rule, or put another in its place.
   * @param {Partial<Rule>} rule
   * @returns {Promise<void>} rejects with why it is refused
   */
  async save(rule) {
    await postJson("api/v1/rules", Object.fromEntries(TEXT.map((name) => [name, rule[name]])));
    await this.loadRules();
  },

  /** @param {string} name @returns {Promise<void>} rejects with why it is refused */
  async remove(name) {
    await postJson("api/v1/rules/delete", { name });
    await this.loadRules();
  },

  /**
   * Send a test message to the targets of a rule.
   * @param {string} name
   * @returns {Promise<any[]>} what each target answered; rejects with why none was asked
   */
  test(name) {
    return postJson("api/v1/rules/test", { name });
  },
};

async function asked(work) {
  try {
    await work();
    book.failure = "";
  } catch (error) {
    book.failure = error.message;
  }
}

function tell(what) {
  for (const listener of listeners) listener(what);
}

market.subscribe("alert", (alert) => {
  book.log = [alert, ...book.log.filter((one) => one.id !== alert.id)].slice(0, MOST);
  tell("log");
});
