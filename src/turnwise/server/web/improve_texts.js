// Sentences of the page of the loop: where a model stands, its versions, and its cycles with their selections.

import { t } from "./i18n.js";
import { formatNumber, formatShare, pluralize } from "./monitor_format.js";

const STEPS = ["select", "replay", "train", "compare", "decide"];

const countAnswers = (number) => pluralize(number, "1 answer", "{number} answers");

/** Feedback that was collected, and whether a cycle runs. */
export function describeNow(running, numNew, cycles) {
  const next = running ? t("A cycle runs now.")
    : cycles.at(-1)?.outcome === null ? t("The last cycle was interrupted; turnwise improve continues it.")
    : t("Start a cycle: turnwise improve --once");
  return t("{first} {second}", { first: describeCollected(numNew, cycles), second: next });
}

function describeCollected(numNew, cycles) {
  if (numNew === null) return t("This server does not store conversations, so that no feedback is collected.");
  const answers = countAnswers(numNew);
  const hasTrained = cycles.some(({ steps }) => steps.includes("train"));
  return hasTrained ? t("{answers} with feedback since the last training.", { answers }) : t("{answers} with feedback so far.", { answers });
}

/** Facts about a version, each a few words. */
export function describeVersion({ contributors, scorecard, passed_gate: hasPassed, state, share, outcomes, erased }) {
  return [
    contributors && pluralize(contributors, "trained on data of 1 person", "trained on data of {number} people"),
    scorecard.gate && (hasPassed ? t("passed the gate") : t("refused by the gate")),
    state === "canary" && t("answers {share} of the conversations", { share: formatShare(share) }),
    outcomes && describeOutcomes(outcomes),
    erased && t("weights deleted"),
  ].filter(Boolean);
}

function describeOutcomes({ answers, errors, rated, disliked }) {
  return [
    countAnswers(answers),
    errors && pluralize(errors, "1 error", "{number} errors"),
    rated && t("{bad} of {number} ratings bad", { bad: formatNumber(disliked), number: formatNumber(rated) }),
  ].filter(Boolean).join(t(", "));
}

/** The outcome of a cycle, or the step that runs or was interrupted. */
export function cycleState({ outcome, isRunning, steps }) {
  if (outcome !== null) return t(outcome);
  const step = t(STEPS.find((name) => !steps.includes(name)) ?? STEPS.at(-1));
  return isRunning ? t("runs: {step}", { step }) : t("interrupted in {step}", { step });
}

/** What a cycle learned from, and what it dropped and masked. */
export function describeSelection({ answers, new_answers: numNew, examples, contributors, dropped, masked }) {
  const numExamples = pluralize(examples, "1 example", "{number} examples");
  const people = pluralize(contributors, "1 person", "{number} people");
  return [
    t("{answers} ({number} new)", { answers: countAnswers(answers), number: formatNumber(numNew) }),
    contributors ? t("{examples} of {people}", { examples: numExamples, people }) : numExamples,
    Object.keys(dropped).length && t("dropped: {list}", { list: listCounts(dropped) }),
    Object.keys(masked).length && t("masked: {list}", { list: listCounts(masked) }),
  ].filter(Boolean).join(" · ");
}

/** Counts by reason or by kind of personal data, such as "2 too long, 1 email". */
function listCounts(counts) {
  const entry = ([name, number]) => t("{number} {name}", { number: formatNumber(number), name: t(name.replaceAll("_", " ")) });
  return Object.entries(counts).map(entry).join(t(", "));
}
