// The numbers of a topic's trend as a table, which changes in place.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { updateList } from "./keyed_list.js";
import { formatNumber, formatShare, formatTime } from "./monitor_format.js";

const TITLES = [
  t("Time"), t("Texts without copies"), t("Expected texts"), t("Alert at"), t("Negative share"), t("Expected share"),
];

/** A table without rows. */
export function createTrendTable() {
  return make("table", { class: "number-table" },
    make("thead", {}, make("tr", {}, ...TITLES.map((title) => make("th", { scope: "col" }, title)))),
    make("tbody"),
  );
}

/** Show the numbers of a trend, newest first. The row of a time stays the same element. */
export function updateTrendTable(table, trend, starts) {
  const entries = starts.map((start, index) => ({ start, cells: cellTexts(trend, index) })).reverse();
  updateList(table.tBodies[0], entries, ({ start }) => start, createRow, updateRow);
}

const createRow = ({ start, cells }) => make("tr", {}, make("th", { scope: "row" }, formatTime(start)), ...cells.map(() => make("td")));

function updateRow(row, { cells }) {
  cells.forEach((text, index) => {
    const cell = row.cells[index + 1];
    if (cell.textContent !== text) cell.textContent = text;
  });
}

function cellTexts(trend, index) {
  const [count, expected] = [trend.counts[index], trend.expected_negatives[index]];
  const text = (value, format) => (value === null ? "–" : format(value));
  return [
    text(count, formatNumber),
    text(trend.expected[index], formatNumber),
    text(trend.thresholds[index], formatNumber),
    text(count ? trend.negatives[index] / count : null, formatShare),
    text(expected === null || !count ? null : Math.min(1, expected / count), formatShare),
  ];
}
