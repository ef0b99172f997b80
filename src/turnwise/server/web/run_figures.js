// The curves of a training, and the replies before and now.

import { make, makeSvg } from "./dom.js";
import { formatFigure } from "./figure_line.js";
import { t } from "./i18n.js";
import { lines } from "./line_paths.js";

const [WIDTH, HEIGHT, MARGIN] = [480, 120, 5];

/** A figure of lines over the steps, `{ name, title, entries }`, with its lowest and highest value. */
function figure(total, series) {
  const all = series.flatMap(({ entries }) => entries.map(({ value }) => value));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const scale = (share, size) => (MARGIN + share * (size - 2 * MARGIN)).toFixed(1);
  const point = ({ step, value }) => [scale(step / total, WIDTH), scale((high - value) / (high - low || 1), HEIGHT)];
  const label = series.map(({ title, entries }) => `${title} ${formatFigure(entries.at(-1).value)}`).join(" · ");
  return make("figure", {},
    make("figcaption", { class: "fine-print legend" }, ...series.map(({ name, title }) => make("span", { class: `legend-${name}` }, title)), `${formatFigure(low)} – ${formatFigure(high)}`),
    makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "line-image", role: "img", "aria-label": label, preserveAspectRatio: "none" },
      ...series.map(({ name, entries }) => makeSvg("path", { class: `run-${name}`, d: lines(entries.map(point)) }))));
}

/** Curves of the losses and the speed. They leave room for the steps to come while the run is open. */
export function curves({ total, step, losses, validations, speeds }, isRunOpen) {
  const both = [{ name: "training", title: t("Training loss"), entries: losses }, { name: "validation", title: t("Validation loss"), entries: validations }];
  const speed = [{ name: "training", title: t("Steps per second"), entries: speeds }];
  return [both, speed].map((series) => series.filter(({ entries }) => entries.length)).filter(({ length }) => length).map((series) => figure(isRunOpen ? total : step, series));
}

/** Entries with replies to the same prompt side by side. `now` is the title of the last ones. */
export const sampleEntries = (samples, now) => samples.map(({ question, before, after, reply }) =>
  make("li", { class: "run-sample" }, make("b", { dir: "auto" }, question),
    make("div", { class: "run-replies" }, ...[[t("Before"), before], [now, after], [t("In the data"), reply]].map(([title, text]) =>
      make("div", {}, make("span", { class: "fine-print" }, title), make("p", { dir: "auto" }, text || "–"))))));
