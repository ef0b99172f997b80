// The list of keyboard shortcuts of the page.

import { listShortcuts } from "./commands.js";
import { showDialog } from "./dialog.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";

/** Show the list until the user closes it. */
export async function showShortcuts() {
  if (byId("shortcuts")) return;
  const rows = listShortcuts().map(([keys, label]) =>
    make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, keys)), make("td", {}, label)));
  await showDialog({
    id: "shortcuts",
    text: t("Keyboard shortcuts"),
    fields: [make("table", { class: "shortcuts" }, make("tbody", {}, ...rows))],
    confirmLabel: t("Close"),
  });
}
