// The alerts of the monitor page: one row each, which opens to show numbers, summary and texts.

import { byId, make } from "./dom.js";
import { updateList } from "./keyed_list.js";
import { formatNumber, formatShare, pluralize, timeElement } from "./monitor_format.js";

const LARGEST_SCORE = 1e6; // larger ones are surges against an expectation of zero

let numDetails = 0; // for ids of elements; those of alerts are not safe as such

/** Show alerts; `onOpen(id)` is called for a click on the row of an alert. */
export function showAlerts(alerts, onOpen) {
  updateList(byId("alerts"), alerts, (alert) => alert.id, (alert) => createRow(alert, onOpen), updateRow);
}

/** Open the alert with this id and close the others. Returns its row, or undefined if it is not in the list. */
export function openRow(id) {
  let opened;
  for (const row of byId("alerts").children) {
    const isOpen = row.listKey === id;
    row.querySelector("button").setAttribute("aria-expanded", isOpen);
    row.querySelector(".alert-detail").hidden = !isOpen;
    if (isOpen) opened = row;
  }
  return opened;
}

/** Show the texts of an alert in its row. */
export function showTexts(row, { texts }) {
  const total = texts.reduce((sum, { copies }) => sum + 1 + copies, 0);
  row.querySelector(".alert-texts").replaceChildren(
    make("h3", {}, texts.length ? `${pluralize(total, "stored text", "stored texts")}, ${formatNumber(texts.length)} without copies` : "No texts are stored for this alert."),
    make("ul", { class: "entries" }, ...texts.map(textItem)),
  );
}

/** Show in the row of an alert why its texts cannot be shown. */
export function showTextsError(row, message) {
  row.querySelector(".alert-texts").replaceChildren(make("p", { class: "error" }, message));
}

function createRow(alert, onOpen) {
  const id = `alert-detail-${++numDetails}`;
  return make("li", { class: "alert panel" },
    make("button", { type: "button", class: "alert-head panel-head", "aria-expanded": "false", "aria-controls": id, onclick: () => onOpen(alert.id) }),
    make("div", { id, class: "alert-detail", hidden: true },
      make("div", { class: "alert-numbers" }),
      make("div", { class: "alert-texts" }, make("p", { class: "fine-print" }, "Loading the texts …")),
    ),
  );
}

function updateRow(row, alert) {
  const isOpen = alert.closed === null;
  row.classList.toggle("is-open", isOpen);
  row.querySelector("button").replaceChildren(
    make("span", { class: "alert-topic" }, alert.topic),
    ...(isOpen ? [make("span", { class: "badge" }, "open")] : []),
    make("span", { class: "alert-values" }, describeValues(alert)),
    make("span", { class: "fine-print" }, timeElement(alert.opened)),
  );
  const numbers = [
    ["Observed", formatValue(alert, alert.observed)],
    ["Expected", formatValue(alert, alert.expected)],
    ["Score", alert.score > LARGEST_SCORE ? `over ${formatNumber(LARGEST_SCORE)}` : formatNumber(alert.score)],
    ["Began", timeElement(alert.start)],
    ["Alert opened", timeElement(alert.opened)],
    ["Alert closed", isOpen ? "still open" : timeElement(alert.closed)],
  ];
  row.querySelector(".alert-numbers").replaceChildren(
    make("p", { class: "alert-summary" }, alert.summary),
    make("dl", {}, ...numbers.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
  );
}

const isShare = (alert) => alert.kind === "negative_share";
const formatValue = (alert, value) => (isShare(alert) ? formatShare(value) : pluralize(value, "text", "texts"));

function describeValues(alert) {
  const name = isShare(alert) ? "negative share" : "volume";
  return `${name} ${formatValue(alert, alert.observed)}, expected ${formatValue(alert, alert.expected)}`;
}

function textItem({ text, time, source, sentiment, is_negative, is_truncated, copies }) {
  const notes = [source, sentiment, copies && pluralize(copies, "copy", "copies")];
  return make("li", { class: is_negative ? "alert-text is-negative" : "alert-text" },
    make("p", {}, is_truncated ? `${text}…` : text),
    make("p", { class: "fine-print" }, timeElement(time), ...notes.filter(Boolean).map((note) => ` · ${note}`)),
  );
}
