// The page of versions: what answers, what each version was made from, buttons that change it, differences, history.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";
import { replaceParts, updateList } from "./keyed_list.js";
import { timeElement } from "./monitor_format.js";
import { act, pollPage } from "./polled_page.js";
import { promote, retire, rollBack, routing, startCanary } from "./version_actions.js";
import { comparisonPart } from "./version_differences.js";
import { historyParts } from "./version_history.js";

const percent = (share) => Math.round(100 * share);
let histories = {}; // events by model
let revision = null; // of the registry when the histories were read

async function read(signal) {
  const list = await api.versions(signal);
  if (list.revision !== revision) {
    const models = Object.keys(list.rollback);
    const events = await Promise.all(models.map((model) => api.versionHistory(model, signal)));
    histories = Object.fromEntries(models.map((model, index) => [model, events[index]]));
    revision = list.revision;
  }
  return list;
}

function show({ data, rollback }) {
  const models = Object.keys(rollback).map((model) => {
    const versions = data.filter((version) => version.model === model);
    return { model, versions, now: routing(versions, rollback[model]) };
  }).filter(({ versions }) => versions.length);
  byId("versions-empty").hidden = models.length > 0;
  updateList(byId("versions-models"), models, ({ model }) => model, createModel, updateModel);
}

const createModel = ({ model }) => make("section", { "aria-label": model },
  make("h2", { dir: "auto" }, model), make("p"), make("ul", { class: "entries" }), make("div"));

function updateModel(section, { model, versions, now }) {
  const [, sentence, list, parts] = section.children;
  sentence.textContent = describe(now, versions);
  const rows = versions.map((version) => ({ ...version, now })).reverse();
  updateList(list, rows, ({ number }) => number, () => make("li", { class: "panel" }), updateVersion);
  if (parts.revision === revision) return; // what is open stays open
  parts.revision = revision;
  parts.replaceChildren(...(versions.length > 1 ? [comparisonPart(model, versions)] : []), ...historyParts(histories[model]));
}

function describe({ serving, canary }, versions) {
  if (!serving) return t("No version serves.");
  const { share } = versions.find(({ id }) => id === canary) ?? {};
  return share
    ? t("{canary} answers {percent} % of the conversations, {serving} the others.", { canary, serving, percent: percent(share) })
    : t("{serving} answers all conversations.", { serving });
}

function updateVersion(row, version) {
  const { id, state, erased, now } = version;
  const button = ([label, run]) =>
    make("button", { type: "button", class: "quiet-button", "aria-label": `${label}: ${id}`, onclick: () => act(() => run(version, now), refresh) }, label);
  row.classList.toggle("is-serving", state === "serving");
  replaceParts(row,
    make("div", { class: "panel-head" }, make("b", { dir: "auto" }, id), make("span", { class: "badge" }, t(erased ? "deleted" : state)), ...actions(version).map(button)),
    make("p", { class: "fine-print", dir: "auto" }, timeElement(version.created), ...facts(version).filter(Boolean).map((fact) => ` · ${fact}`)),
  );
}

function actions({ state, erased, now }) {
  if (state === "serving") return now.target ? [[t("Roll back"), rollBack]] : [];
  if (erased) return [];
  if (state === "retired" || !now.serving) return [[t("Promote"), promote]];
  const isCanary = state === "canary";
  return [[t("Promote"), promote], [isCanary ? t("Change the share") : t("Canary"), startCanary], [isCanary ? t("End the canary") : t("Retire"), retire]];
}

const facts = ({ model, parent, source, data, contributors, scorecard, passed_gate: hasPassed, figures, share, outcomes, error }) => [
  parent ? t("trained from {parent}", { parent: `${model}@${parent}` }) : t("made from: {source}", { source }),
  data.length && t("training files: {names}", { names: data.join(", ") }),
  contributors && t("people whose data it learned: {contributors}", { contributors }),
  scorecard.gate && (hasPassed ? t("passed the gate") : t("refused by the gate")),
  ...Object.entries(figures).map(([name, value]) => `${name} ${value.toPrecision(4)}`),
  share && t("answers {percent} % of the conversations", { percent: percent(share) }),
  outcomes && t("{answers} answers, {errors} errors, {disliked} of {rated} ratings bad", outcomes),
  error,
];

const refresh = pollPage(read, show);
