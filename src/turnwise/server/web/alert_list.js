// The alerts of the monitor page: one row each, which opens to show numbers, summary and texts.

import { byId, make } from "./dom.js";
import { t } from "./i18n.js";
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
  const stored = pluralize(total, "1 stored text", "{number} stored texts");
  row.querySelector(".alert-texts").replaceChildren(
    make("h3", {}, texts.length ? t("{texts}, {number} without copies", { texts: stored, number: formatNumber(texts.length) }) : t("No texts are stored for this alert.")),
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
      make("div", { class: "alert-texts" }, make("p", { class: "fine-print" }, t("Loading the texts …"))),
    ),
  );
}

function updateRow(row, alert) {
  const isOpen = alert.closed === null;
  row.classList.toggle("is-open", isOpen);
  row.querySelector("button").replaceChildren(
    make("span", { class: "alert-topic", dir: "auto" }, alert.topic),
    ...(isOpen ? [make("span", { class: "badge" }, t("open"))] : []),
    make("span", { class: "alert-values" }, describeValues(alert)),
    make("span", { class: "fine-print" }, timeElement(alert.opened)),
  );
  const numbers = [
    [t("Observed"), formatValue(alert, alert.observed)],
    [t("Expected"), formatValue(alert, alert.expected)],
    [t("Score"), alert.score > LARGEST_SCORE ? t("over {number}", { number: formatNumber(LARGEST_SCORE) }) : formatNumber(alert.score)],
    [t("Began"), timeElement(alert.start)],
    [t("Alert opened"), timeElement(alert.opened)],
    [t("Alert closed"), isOpen ? t("still open") : timeElement(alert.closed)],
  ];
  row.querySelector(".alert-numbers").replaceChildren(
    make("p", { class: "alert-summary", lang: "en" }, alert.summary),
    make("dl", {}, ...numbers.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
  );
}

const isShare = (alert) => alert.kind === "negative_share";
const formatValue = (alert, value) => (isShare(alert) ? formatShare(value) : pluralize(value, "1 text", "{number} texts"));

function describeValues(alert) {
  const values = { observed: formatValue(alert, alert.observed), expected: formatValue(alert, alert.expected) };
  if (isShare(alert)) return t("negative share {observed}, expected {expected}", values);
  return t("volume {observed}, expected {expected}", values);
}

function textItem({ text, time, source, sentiment, is_negative, is_truncated, copies }) {
  const notes = [source, sentiment, copies && pluralize(copies, "1 copy", "{number} copies")];
  return make("li", { class: is_negative ? "alert-text is-negative" : "alert-text" },
    make("p", { dir: "auto" }, is_truncated ? `${text}…` : text),
    make("p", { class: "fine-print" }, timeElement(time), ...notes.filter(Boolean).map((note) => ` · ${note}`)),
  );
}
