// Draws a figure of the versions of a model over the cycles: the new version of each cycle as dots on a line, and the
// version that served as a thin line. The table below has the same numbers.

import { makeSvg } from "./dom.js";
import { language, t } from "./i18n.js";
import { dots, lines, points } from "./line_paths.js";
import { pluralize } from "./monitor_format.js";
import { numberTable } from "./number_table.js";

const BOX = { width: 240, height: 64, margin: 5 };

/** A number with three digits, such as "0.123", "45.6" or "1,234". */
export const formatFigure = (value) =>
  value.toLocaleString(language, { maximumSignificantDigits: Math.abs(value) >= 1000 ? 21 : 3, maximumFractionDigits: 0 });

/** Figures of the cycles by metric: `{ name, label, rows: [{ cycle, version, value, base, count }] }`. */
export function figureSeries(cycles) {
  const series = new Map();
  for (const cycle of cycles) {
    for (const [name, figure] of Object.entries(cycle.figures)) {
      if (!series.has(name)) series.set(name, { name, label: t(figure.label), rows: [] });
      series.get(name).rows.push({
        cycle: cycle.number, version: cycle.version, value: figure.value, base: figure.base_value, count: figure.num_dialogues,
      });
    }
  }
  return [...series.values()];
}

/** The figure as an image with a description for screen readers. */
export function figureLine({ label, rows }) {
  const values = rows.flatMap(({ value, base }) => [value, base]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const scaled = (numbers) => points(numbers.map((number) => (high > low ? (number - low) / (high - low) : 0.5)), BOX);
  const news = scaled(rows.map(({ value }) => value));
  return makeSvg("svg", {
    viewBox: `0 0 ${BOX.width} ${BOX.height}`, class: "figure-line line-image", role: "img", "aria-label": describe(label, rows),
    preserveAspectRatio: "none",
  },
    makeSvg("path", { class: "figure-serving", d: lines(scaled(rows.map(({ base }) => base))) }),
    makeSvg("path", { class: "figure-new", d: lines(news) }),
    makeSvg("path", { class: "figure-dots", d: dots(news) }),
  );
}

function describe(label, rows) {
  const last = rows.at(-1);
  const values = rows.map(({ value }) => value);
  return t("{label} of the new version over {cycles}: {value} in the last one, beside {base} of the version that served; between {low} and {high}.", {
    label, cycles: pluralize(rows.length, "1 cycle", "{number} cycles"), value: formatFigure(last.value), base: formatFigure(last.base),
    low: formatFigure(Math.min(...values)), high: formatFigure(Math.max(...values)),
  });
}

/** The numbers of the figure, newest first. */
export function figureTable({ rows }) {
  const body = [...rows].reverse().map(({ cycle, version, value, base, count }) =>
    [String(cycle), version === null ? "–" : `@${version}`, formatFigure(value), formatFigure(base), String(count)]);
  return numberTable([t("Cycle"), t("Version"), t("New version"), t("Serving version"), t("Dialogues")], body);
}
