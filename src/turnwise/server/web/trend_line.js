// Draws the trend of a topic: volume as a filled line, what was expected of it, the count that opens an alert, and the
// negative share as a dashed line. `trend_table.js` has the same numbers.

import { makeSvg } from "./dom.js";
import { t } from "./i18n.js";
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
  if (!counts) return t("Trend of {topic}: no texts.", trend);
  const busiest = trend.counts.indexOf(Math.max(...trend.counts));
  const highest = Math.max(...shares); // null counts as 0
  const worst = shares.findIndex((value) => value === highest);
  const [volume, negatives] = [
    t("Trend of {topic}: {number} texts without copies, the most at {time}: {most}{expected}.", {
      topic: trend.topic, number: formatNumber(counts), time: formatTime(starts[busiest]),
      most: formatNumber(trend.counts[busiest]), expected: expectation(trend, busiest),
    }),
    t("Negative share {share}, the highest at {time}: {highest}.", {
      share: formatShare(share), time: formatTime(starts[worst]), highest: formatShare(shares[worst]),
    }),
  ];
  return t("{first} {second}", { first: volume, second: negatives });
}

/** What was expected of an interval, in brackets; empty if nothing is known. */
function expectation(trend, index) {
  const [expected, threshold] = [trend.expected[index], trend.thresholds[index]];
  if (expected === null) return "";
  const alert = threshold === null ? "" : t(", alert at {number}", { number: formatNumber(threshold) });
  return t(" (expected {number}{alert})", { number: formatNumber(expected), alert });
}
