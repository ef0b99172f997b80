// The table of scores: how often one competitor was preferred to another, with the interval of the win rate.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";

/** Load the scores and show them. */
export async function showScores() {
  const scores = await api.comparisonScores();
  byId("scores-note").hidden = scores.length > 0;
  byId("scores").parentElement.hidden = !scores.length;
  byId("scores").tBodies[0].replaceChildren(...scores.map(row));
}

function row({ first, second, wins, losses, equal, both_bad: bothBad, win_rate: rate, low, high }) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const interval = rate === null ? "–" : t("{rate} ({low} to {high})", { rate: percent(rate), low: percent(low), high: percent(high) });
  const numbers = [wins, losses, equal, bothBad].map((number) => make("td", { class: "number" }, String(number)));
  return make("tr", {},
    make("th", { scope: "row", dir: "auto" }, competitor(first)), make("td", { dir: "auto" }, competitor(second)), make("td", {}, interval), ...numbers);
}

/** The name of a competitor: the version if one is recorded, and the label of its settings. */
const competitor = ({ model, version, label }) => [version || model, label].filter(Boolean).join(" · ");
