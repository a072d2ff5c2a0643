/** The settings of this browser: look, language, time zone, flashing. */

import { dialog, h } from "./dom.js";
import { LANGUAGES, language, rewrite, setLanguage, t, zone } from "./i18n.js";
import { market } from "./market.js";
import { personal } from "./personal.js";
import { state } from "./state.js";
import { choose, palette, PALETTES, theme, THEMES } from "./theme.js";

function options(names, chosen, text) {
  return names.map((name) => h("option", { value: name, selected: name === chosen }, text(name)));
}

function select(label, names, chosen, text, act) {
  const box = h("select.field", { onchange: (event) => act(event.target.value) }, options(names, chosen, text));
  return h("label", {}, h("span", {}, label), box);
}

function zones() {
  const all = Intl.supportedValuesOf?.("timeZone") ?? [];
  return ["", "local", "UTC", ...all.filter((name) => name !== "UTC")];
}

function zoneName(name) {
  if (name === "local") return t("settings.zone.local");
  return name || t("settings.zone.hub", { zone: market.hello?.tz ?? "UTC" });
}

function chooseZone(name) {
  personal.set("zone", name || undefined);
  state.set({ zone: "" });
  rewrite();
}

/** Open the dialog of settings. */
export function showSettings() {
  const flash = h("input", { type: "checkbox", checked: personal.get("flash", true) });
  flash.addEventListener("change", () => personal.set("flash", flash.checked));
  const open = dialog({
    title: t("settings.title"),
    close: t("close"),
    body: h("div.form", {},
      select(t("settings.theme"), THEMES, theme(), (name) => t(`settings.theme.${name || "system"}`), (value) => choose("theme", value)),
      select(t("settings.palette"), PALETTES, palette(), (name) => t(`settings.palette.${name || "usual"}`), (value) => choose("palette", value)),
      select(t("settings.language"), Object.keys(LANGUAGES), language(), (name) => LANGUAGES[name], async (value) => {
        open.close();
        await setLanguage(value);
        showSettings();
      }),
      select(t("settings.zone"), zones(), state.get("zone") || personal.get("zone", ""), zoneName, chooseZone),
      h("p.muted", {}, t("settings.zone.now", { zone: zone() })),
      h("label", {}, h("span", {}, t("settings.flash")), h("span", {}, flash))),
  });
}
