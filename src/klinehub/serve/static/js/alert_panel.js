/** The panel of alerts: the log, the rules with their editor, and the targets. */

import { book } from "./alert_book.js";
import { dialog, fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { makeLog } from "./log.js";
import { standing, toggle } from "./notify.js";
import { textButton } from "./pieces.js";
import { makeRule } from "./rule.js";
import { makeRules } from "./rules.js";
import { makeTargets } from "./targets.js";

const TABS = ["log", "rules", "targets"];
const EVERY = 5_000;
let panel = null;

/**
 * Open the panel at a tab.
 * @param {"log"|"rules"|"targets"} tab
 */
export function open(tab) {
  panel ??= new Panel();
  panel.show(tab);
  panel.body.focus();
}

/**
 * Open the panel with the editor of a rule.
 * @param {Partial<import("./alert_book.js").Rule>} start
 */
export function edit(start) {
  panel ??= new Panel();
  panel.edit(start);
}

class Panel {
  #tab = "log";
  #parts = {};

  constructor() {
    const onkeydown = (event) => this.#key(event);
    this.tabs = h("div.choices.alert-tabs", { role: "tablist", "aria-label": t("alerts.title"), onkeydown });
    this.notify = h("div.notify-line");
    this.wrong = h("p.bad.alert-wrong", { role: "alert", hidden: true });
    this.body = h("div.alert-body", { role: "tabpanel", id: "alert-body", tabindex: "-1" });
    this.window = dialog({
      title: t("alerts.title"), close: t("close"), class: "alerts",
      body: [h("div.alert-bar", {}, this.tabs, this.notify), this.wrong, this.body],
      onclose: () => this.#end(),
    });
    this.#parts = {
      log: makeLog(() => this.window.close()),
      rules: makeRules((rule) => this.edit(rule)),
      targets: makeTargets(),
    };
    this.ends = [book.subscribe(() => this.#refresh())];
    this.timer = setInterval(() => !document.hidden && this.#ask(), EVERY);
    for (const load of ["loadLog", "loadRules", "loadTargets"]) book[load]();
    this.#drawNotify();
  }

  show(tab) {
    this.#tab = tab;
    this.#draw();
    fill(this.body, this.#parts[tab].element);
    this.body.setAttribute("aria-labelledby", `alert-tab-${tab}`);
    this.#refresh();
  }

  async edit(start) {
    this.#tab = "rules";
    this.#draw();
    if (!book.targets.length) await book.loadTargets();
    fill(this.body, makeRule(start, () => this.show("rules")));
    this.body.querySelector("input, textarea")?.focus();
  }

  /** Nobody reads what is behind: only the open tab is asked for anew. */
  #ask() {
    const load = { log: "loadLog", rules: "loadRules", targets: "loadTargets" }[this.#tab];
    if (this.#parts[this.#tab].element.isConnected) book[load]();
  }

  #refresh() {
    this.wrong.hidden = !book.failure;
    this.wrong.textContent = book.failure && t("alerts.failed", { message: book.failure });
    const part = this.#parts[this.#tab];
    if (part.element.isConnected) part.refresh();
    if (this.#tab === "log" && part.element.isConnected && book.unread) book.seen();
  }

  #draw() {
    fill(this.tabs, TABS.map((name) => h("button.button", {
      type: "button", role: "tab", id: `alert-tab-${name}`, "aria-selected": String(name === this.#tab), "aria-controls": "alert-body",
      tabindex: name === this.#tab ? "0" : "-1", onclick: () => this.show(name),
    }, t(`alerts.tab.${name}`))));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.show(TABS[(TABS.indexOf(this.#tab) + step + TABS.length) % TABS.length]);
    this.tabs.querySelector("[aria-selected='true']").focus();
  }

  #drawNotify() {
    const now = standing();
    const act = async () => {
      await toggle();
      this.#drawNotify();
    };
    const able = now === "on" || now === "off";
    fill(this.notify, h("span.muted", {}, t(`alerts.notify.${now}`)),
      able && textButton(`alerts.notify.turn.${now}`, act));
  }

  #end() {
    panel = null;
    clearInterval(this.timer);
    for (const end of this.ends) end();
  }
}
