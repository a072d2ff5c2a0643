/** The time machine: the whole page as it was known at a past moment. */

import { lengthOf } from "./bars.js";
import { button, fill, h, popover } from "./dom.js";
import { onLanguage, t, zone } from "./i18n.js";
import { market } from "./market.js";
import { textButton } from "./pieces.js";
import { timeframe } from "./shell.js";
import { state } from "./state.js";
import { fromField, toField } from "./zones.js";

const HOUR = 3_600_000;
const BACK = { "1h": HOUR, "4h": 4 * HOUR, "1d": 24 * HOUR, "1w": 168 * HOUR };

/**
 * Put the button into the top bar.
 * @param {HTMLElement} corner
 */
export function install(corner) {
  const place = h("span.moment");
  corner.append(place);
  const draw = () => {
    const on = state.get("at") > 0;
    const looks = { icon: "clock", class: on ? "quiet on" : "quiet", "aria-haspopup": "dialog" };
    const open = button({ label: t("moment.title"), ...looks }, () => show(open));
    fill(place, open);
  };
  onLanguage(draw);
  state.subscribe((names) => names.has("at") && draw());
  draw();
}

/**
 * Look at a moment, or at the present.
 * @param {number} at ms; 0 is now, as is every time to come
 */
function goTo(at) {
  state.set({ at: at >= market.time ? 0 : Math.max(0, Math.round(at)) }, { push: true });
}

function show(anchor) {
  const now = state.get("at") || market.time;
  const field = h("input.field", {
    type: "datetime-local", autofocus: true, max: toField(market.time, zone()), value: toField(now, zone()),
    "aria-label": t("moment.when", { zone: zone() }),
  });
  const wrong = h("p.bad", { role: "alert" });
  const go = (at) => (panel.close(true), goTo(at));
  const use = () => {
    const at = fromField(field.value, zone());
    if (Number.isNaN(at)) wrong.textContent = t("moment.wrong");
    else go(at);
  };
  const back = ([name, span]) => {
    const label = t("moment.back", { span: name });
    return button({ label, text: label, class: "framed" }, () => go(market.time - span));
  };
  const bar = lengthOf(timeframe());
  const form = h("form.moment-form", { onsubmit: (event) => (event.preventDefault(), use()) },
    h("p.muted", {}, t("moment.about", { zone: zone() })),
    h("div.line", {}, field, textButton("moment.show", use, { class: "main" })), wrong,
    h("div.line", {}, Object.entries(BACK).map(back)),
    state.get("at") > 0 && h("div.line", {},
      bar > 0 && [textButton("moment.earlier", () => go(now - bar)), textButton("moment.later", () => go(now + bar))],
      textButton("moment.now", () => go(market.time))));
  const panel = popover(anchor, form, { label: t("moment.title") });
}
