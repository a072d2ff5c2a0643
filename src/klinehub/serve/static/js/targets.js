/** The targets of alerts: who is told, and whether that works. */

import { book } from "./alert_book.js";
import { fill, h } from "./dom.js";
import { formatNumber, t } from "./i18n.js";

/** @returns {{element: HTMLElement, refresh: () => void}} */
export function makeTargets() {
  const list = h("ul.targets");
  const element = h("div", {}, list, h("p.muted.hint", {}, t("alerts.targets.where")));
  const none = h("li.blank-line.muted", {}, t("alerts.targets.none"));
  const refresh = () => fill(list, book.targets.length ? book.targets.map(row) : none);
  return { element, refresh };
}

function row(target) {
  const { name, host, sent, failed, waiting, quiet, last_failure: failure } = target;
  const said = [
    t("alerts.target.sent", { count: formatNumber(sent, "whole") }),
    waiting > 0 && t("alerts.target.waiting", { count: formatNumber(waiting, "whole") }),
    failed > 0 && t("alerts.target.failed", { count: formatNumber(failed, "whole") }),
    quiet && t("alerts.target.quiet", { span: quiet }),
  ];
  return h("li.target", {},
    h("div.rule-head", {}, h(`i.dot.${failure ? "bad" : "good"}`), h("b", {}, name), h("span.muted", {}, host),
      h("span.rule-counts", {}, t(failure ? "alerts.target.bad" : "alerts.target.good"))),
    h("p.muted", {}, said.filter(Boolean).join(" · ")), failure && h("p.bad", {}, failure));
}
