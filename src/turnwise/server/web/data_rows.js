// The rows of a data set, and the report of its check. All text is plain: nothing becomes markup.

import { make } from "./dom.js";
import { language, t } from "./i18n.js";

const LONG_TEXT = 2000; // characters, from which on a text scrolls
const COLUMNS = ["total", "min", "median", "p90", "max"];

export const format = (number) => number.toLocaleString(language);
const some = (isShown, create) => (isShown ? [create()] : []);
const faint = (tag, ...children) => make(tag, { class: "fine-print" }, ...children);
const bar = (...children) => make("p", { class: "data-bar" }, ...children);
const panel = (kind, ...children) => make("li", { class: `panel data-row ${kind}` }, ...children);
const error = (text) => make("p", { class: "error", lang: "en" }, text); // a sentence of the server

/** The element of a row: a dialogue, a plain text, or why the row cannot be read. `query` is marked in its texts. */
export function createRow({ index, line, messages, rejected, tools, rating, text, meta, problem }, query) {
  const block = (content) => make("pre", { class: "data-text", dir: "auto", tabIndex: content.length > LONG_TEXT ? 0 : -1 }, ...marked(content, query));
  const list = (entries) => make("ol", { class: "entries" }, ...entries.map(({ role, name, content, tool_calls: calls = [] }) =>
    make("li", { class: `data-message ${role}` }, faint("b", t(role), name ? ` (${name})` : ""), ...[content, ...calls.map(describeCall)].filter(Boolean).map(block)),
  ));
  const folded = (title, value) => faint("details", make("summary", {}, title), block(JSON.stringify(value, null, 1)));
  const rated = rating === null ? "" : ` · ${rating ? t("rated good") : t("rated bad")}`;
  return panel("",
    bar(make("b", {}, t("Dialogue {number}", { number: format(index + 1) })), faint("span", t("line {line}", { line: format(line) }), rated)),
    ...some(problem, () => error(problem)),
    ...some(text, () => block(text)),
    list(messages),
    ...some(rejected.length, () => make("details", {}, faint("summary", t("Rejected")), list(rejected))),
    ...some(tools.length, () => folded(t("Tools"), tools)),
    ...some(Object.keys(meta).length, () => folded(t("Metadata"), meta)),
  );
}

/** A tool call as text; its input is `arguments` or `input`. */
function describeCall(call) {
  const { name, ...input } = call[call.type];
  return `${name}(${Object.values(input)})`;
}

/** The nodes of a text, with the occurrences of `query` as marks. */
function marked(text, query) {
  if (!query) return [text];
  const pattern = new RegExp("(" + query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + ")", "iu");
  return text.split(pattern).map((piece, index) => (index % 2 ? make("mark", {}, piece) : piece));
}

/** The elements that show a check; `choose(kind)` is called when the user wants the dialogues with a finding. */
export function createReport({ share, rows, error: reason, report }, choose) {
  if (reason) return [error(reason)];
  if (!report) return [make("label", {}, t("{count} rows are checked ", { count: format(rows) }), make("progress", { value: share }))];
  const row = (name, tag, texts) => make("tr", {}, make("th", {}, name), ...texts.map((text) => make(tag, {}, text)));
  return [
    make("p", { lang: "en" }, report.verdict),
    make("ul", { class: "entries" }, ...report.findings.map(({ kind, severity, message, advice, rows: count }) =>
      panel(`is-${severity}`,
        bar(
          make("span", { class: "badge" }, t(severity)),
          make("button", { class: "quiet-button", disabled: !count, onclick: () => choose(kind) }, t(kind)),
          make("span", { class: "fine-print", lang: "en" }, `${message} ${advice}`),
        ),
      ),
    )),
    make("details", { class: "numbers" }, make("summary", {}, t("Numbers")),
      make("table", {}, row(t("lengths"), "th", COLUMNS.map((column) => t(column))), ...Object.entries(report.lengths).map(([name, numbers]) =>
        row(t(name), "td", COLUMNS.map((column) => format(numbers[column]))),
      )),
    ),
  ];
}
