/** The page: texts and colours first, then the frame, the line to the hub, and the view that the address names. */

import { onUnauthorized } from "./api.js";
import { mountBreadth } from "./breadth.js";
import { followAddress } from "./chosen.js";
import { fill, h, tell } from "./dom.js";
import { mountHealth } from "./health.js";
import { loadTexts, onLanguage, setExchangeZone, t } from "./i18n.js";
import { startKeys } from "./keys.js";
import { live } from "./live.js";
import { market } from "./market.js";
import { mountNotices } from "./notice.js";
import { mountShell } from "./shell.js";
import { state } from "./state.js";
import { apply } from "./theme.js";
import { askToken } from "./token.js";
import { EXTRAS, VIEWS } from "./views.js";

const main = document.getElementById("main");
let shown = { name: "", view: null };

async function show() {
  const name = state.get("view") in VIEWS ? state.get("view") : "table";
  if (name === shown.name) return;
  shown.view?.unmount();
  shown = { name, view: null };
  main.replaceChildren();
  try {
    const module = await VIEWS[name].load();
    if (shown.name === name) shown.view = module.mount(main);
  } catch (error) {
    fill(main, h("p.failed", { role: "alert" }, t("view.failed", { message: error.message })));
    throw error;
  }
}

/** Everything is written anew: the view is made again, the rest listens itself. */
function rewrite() {
  shown.view?.unmount();
  shown = { name: "", view: null };
  show();
}

async function start() {
  startKeys();
  const texts = loadTexts();
  // The hub may ask for its secret before there are words to say so.
  onUnauthorized(() => texts.then(askToken));
  live.start();
  await texts;
  apply();
  followAddress();
  const greet = () => market.hello && setExchangeZone(market.hello.tz);
  market.subscribe("hello", greet);
  // It may have come while the texts did.
  greet();
  state.subscribe((names) => {
    if (names.has("view")) show();
    else shown.view?.update(names);
  });
  onLanguage(rewrite);
  const corner = mountShell(document.getElementById("top"));
  mountBreadth(document.getElementById("market"));
  mountNotices(document.getElementById("notices"));
  mountHealth(document.getElementById("health"));
  await show();
  market.open();
  for (const load of EXTRAS) (await load()).install(corner);
}

addEventListener("unhandledrejection", (event) => tell(String(event.reason?.message ?? event.reason)));
start();
