/** Alerts: the bell of the top bar, and the panel behind it, which is loaded when it is first opened. */

import { book } from "./alert_book.js";
import { button, fill, h } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { bind } from "./keys.js";
import { market } from "./market.js";
import { startNotifying } from "./notify.js";
import { personal } from "./personal.js";

const MOST_SHOWN = 99;

/**
 * Put the bell into the top bar.
 * @param {HTMLElement} corner
 */
export function install(corner) {
  const place = h("span.bell");
  corner.append(place);
  const draw = () => {
    const { unread } = book;
    const label = unread ? t("alerts.bell", { count: unread }) : t("alerts.title");
    const bell = button({ label, icon: "bell", class: "quiet", "aria-haspopup": "dialog" }, () => openAlerts("log"));
    const count = h("span.bell-count", { "aria-hidden": "true", hidden: !unread }, unread > MOST_SHOWN ? `${MOST_SHOWN}+` : unread);
    fill(place, market.hello?.can.alerts === false ? null : [bell, count]);
  };
  book.subscribe(draw);
  personal.subscribe(draw);
  onLanguage(draw);
  market.subscribe("hello", () => (draw(), market.hello.can.alerts && book.loadLog()));
  if (market.hello?.can.alerts) book.loadLog();
  bind("a", { label: "alerts.title", act: () => openAlerts("log") });
  startNotifying();
  draw();
}

/**
 * Open the panel.
 * @param {"log"|"rules"|"targets"} tab
 */
export async function openAlerts(tab) {
  (await import("./alert_panel.js")).open(tab);
}

/**
 * Make a rule of what the page shows.
 * @param {{where?: string, screen?: string, timeframe?: string, symbols?: string[]}} start
 */
export async function newRule(start) {
  (await import("./alert_panel.js")).edit(start);
}
