// The usage of API keys by day: a bar for each day, and a table with the same numbers.

import { byId, make, makeSvg } from "./dom.js";
import { t } from "./i18n.js";
import { formatNumber } from "./monitor_format.js";
import { numberTable } from "./number_table.js";

const MEASURES = ["requests", "prompt_tokens", "completion_tokens", "errors"];
const HEIGHT = 40;
const DAY_MS = 86_400_000;

/** Sums of the counts of rows, as texts. */
export const sums = (rows) => MEASURES.map((measure) => formatNumber(sum(rows, measure)));
const sum = (rows, measure) => rows.reduce((total, row) => total + row[measure], 0);

/** The titles of the sums, as the page has them. */
export const titles = () => [...byId("usage-measure").options].map(({ textContent }) => textContent);

/** Show the chosen count of the chosen key, by day. */
export function showUsage({ data, first_day: first, last_day: last }) {
  const { value: key } = byId("usage-key");
  const { value: measure, selectedIndex: index } = byId("usage-measure");
  const days = [];
  for (let time = Date.parse(first); time <= Date.parse(last); time += DAY_MS) {
    const day = new Date(time).toISOString().slice(0, 10);
    days.push({ day, rows: data.filter((row) => row.day === day && (!key || row.key === key)) });
  }
  const values = days.map(({ rows }) => sum(rows, measure));
  const peak = Math.max(...values, 1);
  const description = t("{label} by day from {first} to {last}, at most {peak}", { label: titles()[index], first, last, peak: formatNumber(Math.max(...values)) });
  const bars = values.map((value, x) => bar(x, (HEIGHT * value) / peak, `${days[x].day}: ${formatNumber(value)}`));
  byId("usage-chart").replaceChildren(
    makeSvg("svg", { viewBox: `0 0 ${days.length} ${HEIGHT}`, class: "usage-bars", role: "img", "aria-label": description, preserveAspectRatio: "none" }, ...bars),
    make("p", { class: "fine-print", "aria-hidden": "true" }, description),
  );
  byId("usage-table").replaceChildren(numberTable([t("Day"), ...titles()], days.reverse().map(({ day, rows }) => [day, ...sums(rows)])));
}

const bar = (x, height, title) =>
  makeSvg("rect", { x: x + 0.1, y: HEIGHT - height, width: 0.8, height }, makeSvg("title", {}, title));
