/** The dialog that asks for the hub's secret, where it wants one and the address has none. */

import { keepToken, token } from "./api.js";
import { dialog, h } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Ask for the secret until one is given.
 * @returns {Promise<void>}
 */
export function askToken() {
  return new Promise((resolve) => {
    const input = h("input.field", { type: "password", name: "token", autocomplete: "off", required: true, autofocus: true });
    const form = h("form.form", { method: "dialog" },
      h("p", {}, t(token() ? "token.wrong" : "token.why")),
      h("label", {}, h("span", {}, t("token.label")), input),
      h("p.muted", {}, t("token.where")),
      h("div.actions", {}, h("button.button.main", { type: "submit" }, t("token.enter"))));
    let given = false;
    form.addEventListener("submit", () => {
      given = true;
      keepToken(input.value.trim());
    });
    const again = () => (given ? resolve() : resolve(askToken()));
    dialog({ title: t("token.title"), close: t("close"), body: form, onclose: again });
    input.focus();
  });
}
