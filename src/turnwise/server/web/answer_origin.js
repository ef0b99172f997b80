// "How this answer came about": what is stored about an answer, as a short list.

import { make } from "./dom.js";
import { t } from "./i18n.js";

const FINISHES = {
  stop: "it ended by itself", length: "it was cut off at the length limit", cancelled: "it was stopped", error: "it failed",
  in_progress: "it was interrupted", tool_calls: "it called a tool",
};

/** The list for the metadata of a stored answer, and the response that scored it. */
export function answerOrigin(meta = {}, scored) {
  const model = meta.version ?? meta.model ?? scored.version ?? scored.model;
  const rows = [
    [t("Model"), model],
    [t("Scored by"), (scored.version ?? scored.model) !== model && (scored.version ?? scored.model)],
    [t("End"), meta.finish in FINISHES && t(FINISHES[meta.finish])],
    [t("Prompt"), meta.usage && promptText(meta.usage)],
    [t("Written"), meta.usage && writtenText(meta.usage)],
    [t("Sampling"), meta.sampling && Object.entries(meta.sampling).map(([name, value]) => `${name} ${value}`).join(", ")],
    [t("Context"), meta.context ? contextText(meta.context) : meta.usage && t("the whole conversation was read")],
    ...serviceRows(meta.service),
  ];
  const shown = rows.filter(([, text]) => text);
  return make("dl", { class: "answer-origin" }, ...shown.flatMap(([name, text]) => [make("dt", {}, name), make("dd", { dir: "auto" }, text)]));
}

function promptText({ prompt_tokens: all = 0, cached_tokens: cached = 0 }) {
  return t("{all} tokens, {cached} of them from the prefix cache", { all, cached });
}

function writtenText({ completion_tokens: all = 0, accepted_draft_tokens: drafted = 0 }) {
  return drafted ? t("{all} tokens, {drafted} of them drafted and confirmed", { all, drafted }) : t("{all} tokens, none of them drafted", { all });
}

function contextText({ policy, dropped_messages: messages, dropped_tokens: tokens, recalled, is_summarized: isSummarized }) {
  const parts = [];
  if (tokens) parts.push(t("{count} older tokens were left out", { count: tokens }));
  if (messages) parts.push(t(isSummarized ? "{count} older messages were summarised" : "{count} older messages were left out", { count: messages }));
  if (recalled) parts.push(t("{count} earlier statements were repeated", { count: recalled }));
  return `${policy}: ${parts.join(", ") || t("nothing was left out")}`;
}

function serviceRows(service) {
  if (!service) return [];
  const [kind, name] = service.decision.split(":");
  const source = { template: "the template {name}", safety: "the safety line {name}", refusal: "the refusal {name}", knowledge: "passages of documents", generate: "the model" }[kind];
  const steps = (service.decisions ?? []).map(({ step, outcome, detail, score, threshold }) => {
    const scores = [score, threshold].filter((value) => value !== undefined).map((value) => value.toFixed(2));
    const compared = score === undefined ? "" : ` (${scores.join(" / ")})`;
    return `${step}: ${[outcome, detail].filter(Boolean).join(" ")}${compared}`;
  });
  const passages = (service.citations ?? []).map(({ number, source: document }) => `[${number}] ${document}`);
  return [
    [t("Scenario"), service.scenario],
    [t("Answered by"), source ? t(source, { name }) : service.decision],
    [t("Steps"), steps.join(" → ")],
    [t("Retrieved"), passages.join(", ")],
  ];
}
