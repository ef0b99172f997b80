// Shows the report of a cycle above the page. A report is a page of its own with its own style sheet; in a shadow tree
// both style sheets leave each other alone. Its request has the API key, which a link could not send.

import { iconButton, make } from "./dom.js";
import { t } from "./i18n.js";

const STYLE = /<style>([^]*?)<\/style>/; // taken out before parsing: the policy of this page forbids inline style

/**
 * Show a report until the user closes it.
 *
 * @param title accessible name.
 * @param html the report. It has no scripts, and none would run: they are parsed without being executed.
 */
export async function showReport(title, html) {
  const parsed = new DOMParser().parseFromString(html.replace(STYLE, ""), "text/html");
  const host = make("div", { class: "report-content", tabIndex: 0, lang: parsed.documentElement.lang });
  const shadow = host.attachShadow({ mode: "open" });
  shadow.adoptedStyleSheets = [scopedSheet(STYLE.exec(html)?.[1] ?? "")];
  shadow.append(make("div", { class: "report" }, ...parsed.body.childNodes));
  const dialog = make("dialog", { class: "report-dialog", "aria-label": title },
    make("header", { class: "report-header" }, make("b", {}, title), iconButton("close", t("Close the report"), () => dialog.close())),
    host,
  );
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  dialog.remove();
}

/** The style sheet of a page for a shadow tree, which has neither a root element nor a body. */
function scopedSheet(css) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css.replaceAll(":root", ":host").replaceAll(/\bbody(?=\s*\{)/g, ".report"));
  return sheet;
}
