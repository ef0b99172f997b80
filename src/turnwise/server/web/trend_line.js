// Draws the trend of a topic: volume as a filled line, what was expected of it, the count that opens an alert, and the
// negative share as a dashed line. `trend_table.js` has the same numbers.

import { makeSvg } from "./dom.js";
import { lines, points } from "./line_paths.js";
import { formatNumber, formatShare, formatTime } from "./monitor_format.js";

const WIDTH = 240;
const HEIGHT = 48;
const MARGIN = 2; // so that the stroke of the highest value is inside
const BOX = { width: WIDTH, height: HEIGHT, margin: MARGIN };

/** The sums of a trend. `share` is null without texts. */
export function totals({ texts, counts, negatives }) {
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const [all, single, negative] = [sum(texts), sum(counts), sum(negatives)];
  return { texts: all, counts: single, share: single ? negative / single : null };
}

/** The trend as an image with a description for screen readers. */
export function trendLine(trend, starts) {
  const shares = trend.counts.map((count, index) => (count ? trend.negatives[index] / count : null));
  const peak = Math.max(1, ...trend.counts, ...trend.expected, ...trend.thresholds); // null counts as 0
  const scaled = (values) => points(values.map((value) => (value === null ? null : value / peak)), BOX);
  const volume = scaled(trend.counts);
  const floor = `V${HEIGHT - MARGIN}`;
  const area = `${lines(volume)}${floor}H${volume[0][0]}Z`;
  return makeSvg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "trend-line line-image", role: "img", "aria-label": describe(trend, shares, starts),
    preserveAspectRatio: "none",
  },
    makeSvg("path", { class: "trend-area", d: area }),
    makeSvg("path", { class: "trend-volume", d: lines(volume) }),
    makeSvg("path", { class: "trend-expected", d: lines(scaled(trend.expected)) }),
    makeSvg("path", { class: "trend-threshold", d: lines(scaled(trend.thresholds)) }),
    makeSvg("path", { class: "trend-negative", d: lines(points(shares, BOX)) }),
  );
}

function describe(trend, shares, starts) {
  const { counts, share } = totals(trend);
  if (!counts) return `Trend of ${trend.topic}: no texts.`;
  const busiest = trend.counts.indexOf(Math.max(...trend.counts));
  const highest = Math.max(...shares); // null counts as 0
  const worst = shares.findIndex((value) => value === highest);
  return [
    `Trend of ${trend.topic}: ${counts.toLocaleString("en")} texts without copies,`,
    `the most at ${formatTime(starts[busiest])}: ${trend.counts[busiest].toLocaleString("en")}${expectation(trend, busiest)}.`,
    `Negative share ${formatShare(share)}, the highest at ${formatTime(starts[worst])}: ${formatShare(shares[worst])}.`,
  ].join(" ");
}

/** What was expected of an interval, in brackets; empty if nothing is known. */
function expectation(trend, index) {
  const [expected, threshold] = [trend.expected[index], trend.thresholds[index]];
  if (expected === null) return "";
  const alert = threshold === null ? "" : `, alert at ${formatNumber(threshold)}`;
  return ` (expected ${formatNumber(expected)}${alert})`;
}
