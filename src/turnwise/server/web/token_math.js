// Probabilities after temperature, top-k, top-p and min-p, computed from those of the most likely tokens.

/** The parameters in the order in which the engine applies them. */
export const SLIDERS = [
  { name: "temperature", label: "Temperature", maximum: 2, step: 0.05, neutral: 1 },
  { name: "top_k", label: "Top-k", maximum: 50, step: 1, neutral: 0 },
  { name: "top_p", label: "Top-p", maximum: 1, step: 0.01, neutral: 1 },
  { name: "min_p", label: "Min-p", maximum: 0.5, step: 0.01, neutral: 0 },
];
const NAMES = SLIDERS.map(({ name }) => name);
const WARPERS = [...NAMES, "typical_p", "epsilon_cutoff", "eta_cutoff"]; // from the temperature on

/** The values of the sliders that a distribution of the server was computed with. */
export function valuesOf(distribution) {
  return Object.fromEntries(
    SLIDERS.map(({ name, neutral }) => [name, distribution.stages.find((stage) => stage.name === name)?.value ?? neutral]),
  );
}

/**
 * What the sliders start from: the probabilities after penalties and constraints.
 *
 * @returns `probabilities` of the tokens, `rest` of all others together, their number `numRest`, and `skipped`, the names of
 *   later stages that the sliders do not redraw.
 */
export function baseOf({ stages, tokens, rest, vocab_size: vocabSize }) {
  const first = stages.findIndex(({ name }) => WARPERS.includes(name));
  const index = (first < 0 ? stages.length : first) - 1;
  const probabilities = tokens.map((token) => (index < 0 ? token.probability : token.probabilities[index]));
  const numKept = index < 0 ? vocabSize : stages[index].num_kept;
  return {
    probabilities,
    ids: tokens.map(({ id }) => id),
    rest: index < 0 ? rest : stages[index].rest,
    numRest: Math.max(0, numKept - probabilities.filter((probability) => probability > 0).length),
    skipped: stages.slice(index + 1).map(({ name }) => name).filter((name) => !NAMES.includes(name)),
  };
}

/**
 * The probabilities at other values of the sliders. The other tokens count as equally likely.
 *
 * @returns `probabilities`, `removedBy` (names of stages, or null), the `rest`, and `isExact`: false if the result depends
 *   on how the probability of the other tokens is divided among them.
 */
export function redraw(base, values) {
  const entries = base.probabilities.map((probability, index) => ({ index, count: 1, weight: probability, removedBy: probability > 0 ? null : "" }));
  const rest = { index: -1, count: base.numRest, weight: base.numRest ? base.rest / base.numRest : 0, removedBy: null };
  const all = base.numRest ? [...entries, rest] : entries;
  const isKept = ({ weight, removedBy }) => removedBy === null && weight > 0;
  const kept = () => all.filter(isKept).sort((a, b) => b.weight - a.weight || base.ids[a.index] - base.ids[b.index]);
  const remove = (name, isRemoved) => {
    for (const entry of kept().filter(isRemoved)) entry.removedBy = name;
  };
  let isExact = true;
  const best = kept()[0];
  if (values.temperature === 0) {
    remove("temperature", (entry) => entry !== best);
    best.weight = 1; // the later stages keep it
  } else {
    const largest = best.weight;
    for (const entry of kept()) entry.weight = (entry.weight / largest) ** (1 / values.temperature);
  }
  if (values.top_k > 0) {
    let seen = 0;
    let limit = 0;
    for (const { count, weight } of kept()) {
      if (seen < values.top_k) limit = weight;
      seen += count;
    }
    remove("top_k", ({ weight }) => weight < limit);
    if (isKept(rest) && values.top_k < seen) isExact = false;
  }
  if (values.temperature !== 1 && isKept(rest)) isExact = false;
  if (values.top_p < 1) {
    const total = kept().reduce((sum, { weight, count }) => sum + weight * count, 0);
    let before = 0;
    let isFirst = true;
    for (const entry of kept()) {
      if (!isFirst && before >= values.top_p * total) entry.removedBy = "top_p";
      before += entry.weight * entry.count;
      isFirst = false;
    }
    if (isKept(rest)) isExact = false;
  }
  if (values.min_p > 0) {
    const hadRest = isKept(rest);
    remove("min_p", ({ weight }) => weight < values.min_p);
    if (hadRest && isKept(rest)) isExact = false;
  }
  const total = kept().reduce((sum, { weight, count }) => sum + weight * count, 0);
  return {
    probabilities: entries.map((entry) => (isKept(entry) ? entry.weight / total : 0)),
    removedBy: entries.map(({ removedBy }) => removedBy),
    rest: isKept(rest) ? (rest.weight * rest.count) / total : 0,
    isExact,
  };
}
