/** The targets of alerts: who is told, and whether that works. */

import { book } from "./alert_book.js";
import { fill, h } from "./dom.js";
import { formatNumber, LANGUAGES, t } from "./i18n.js";

/** @returns {{element: HTMLElement, refresh: () => void}} */
export function makeTargets() {
  const list = h("ul.targets");
  const element = h("div", {}, list, h("p.muted.hint", {}, t("alerts.targets.where")));
  const none = h("li.blank-line.muted", {}, t("alerts.targets.none"));
  const refresh = () => fill(list, book.targets.length ? book.targets.map(row) : none);
  return { element, refresh };
}

function row({ name, kind, where, state, quiet, digest, lang, waiting, sent, retried, given_up: lost, failure }) {
  const said = [
    t(`alerts.target.kind.${kind}`),
    t("alerts.target.sent", { count: formatNumber(sent, "whole") }),
    waiting > 0 && t("alerts.target.waiting", { count: formatNumber(waiting, "whole") }),
    retried > 0 && t("alerts.target.retried", { count: formatNumber(retried, "whole") }),
    lost > 0 && t("alerts.target.lost", { count: formatNumber(lost, "whole") }),
    quiet && t("alerts.target.hush", { span: quiet }),
    digest > 0 && t("alerts.target.digest", { count: digest }),
    LANGUAGES[lang],
  ];
  return h("li.target", {},
    h("div.rule-head", {}, h(`i.dot.${state}`), h("b", {}, name), h("span.muted", {}, where),
      h("span.rule-counts", {}, t(`alerts.target.${state}`))),
    h("p.muted", {}, said.filter(Boolean).join(" · ")), failure && h("p.bad", {}, failure));
}
