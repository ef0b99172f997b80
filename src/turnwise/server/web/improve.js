// The page of the loop: what was collected, cycles with their reasons and reports, figures, and versions.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { figureLine, figureSeries, figureTable, formatFigure } from "./figure_line.js";
import { updateList } from "./keyed_list.js";
import { formatNumber, formatTime, pluralize, timeElement } from "./monitor_format.js";
import { showError } from "./page.js";
import { act, pollPage } from "./polled_page.js";
import { showReport } from "./report_dialog.js";
import { promote, rollBack, routing } from "./version_actions.js";

const STEPS = ["select", "replay", "train", "compare", "decide"];

const read = (signal) => Promise.all([api.improvements(signal), api.versions(signal)]);

function render([{ data: improvements }, { data: versions, rollback }]) {
  const models = improvements.map((entry) => {
    const ofModel = versions.filter(({ model }) => model === entry.model);
    return { ...entry, versions: ofModel, now: routing(ofModel, rollback[entry.model]) };
  });
  byId("improve-empty").hidden = models.length > 0;
  byId("improve-read").textContent = `Last read at ${formatTime(Date.now() / 1000)}; read again every 15 seconds.`;
  updateList(byId("improve-models"), models, ({ model }) => model, createModel, updateModel);
}

function createModel({ model }) {
  const part = (name, title, ...elements) =>
    make("div", { class: `improve-part improve-${name}` }, make("h3", {}, title), ...elements);
  return make("section", { class: "improve-model", "aria-label": model },
    make("h2", { class: "improve-name" }, model),
    make("p", { class: "improve-now" }),
    make("p", { class: "error", hidden: true }),
    part("versions", "Versions", make("ul", { class: "entries" })),
    part("figures", "Figures of the new versions",
      make("p", { class: "fine-print legend" }, make("span", { class: "legend-new" }, "new version"), make("span", { class: "legend-serving" }, "version that served")),
      make("ul", { class: "entries improve-figure-list" })),
    part("cycles", "Cycles", make("ol", { class: "entries", reversed: true })),
  );
}

function updateModel(section, { model, running, new_answers: numNew, cycles, versions, now, error }) {
  const list = (name) => section.querySelector(`.improve-${name} > :is(ul, ol)`);
  const series = figureSeries(cycles);
  section.querySelector(".improve-now").textContent = describeNow(running, numNew, cycles);
  section.querySelector(".error").hidden = !error;
  section.querySelector(".error").textContent = error ?? "";
  for (const [name, entries] of [["versions", versions], ["figures", series], ["cycles", cycles]]) {
    section.querySelector(`.improve-${name}`).hidden = entries.length === 0;
  }
  const rows = [...versions].reverse().map((version) => ({ ...version, now }));
  updateList(list("versions"), rows, ({ number }) => number, () => make("li", { class: "improve-entry panel" }), updateVersion);
  updateList(list("figures"), series, ({ name }) => name, createFigure, updateFigure);
  const entries = [...cycles].reverse().map((cycle, index) => ({ ...cycle, model, isRunning: running && index === 0 && cycle.outcome === null }));
  updateList(list("cycles"), entries, ({ number }) => number, () => make("li", { class: "improve-entry panel" }), updateCycle);
}

function describeNow(running, numNew, cycles) {
  const collected = numNew === null
    ? "This server does not store conversations, so that no feedback is collected."
    : `${pluralize(numNew, "answer", "answers")} with feedback ${cycles.some(({ steps }) => steps.includes("train")) ? "since the last training" : "so far"}.`;
  const next = cycles.at(-1)?.outcome === null ? "The last cycle was interrupted; turnwise improve continues it." : "Start a cycle: turnwise improve --once";
  return `${collected} ${running ? "A cycle runs now." : next}`;
}

function updateVersion(row, version) {
  const gate = version.scorecard.gate;
  const facts = [
    timeElement(version.created),
    version.contributors && `trained on data of ${pluralize(version.contributors, "person", "people")}`,
    gate && (version.passed_gate ? "passed the gate" : "refused by the gate"),
    version.state === "canary" && `answers ${Math.round(100 * version.share)} % of the conversations`,
    version.outcomes && describeOutcomes(version.outcomes),
    version.erased && "weights deleted",
    version.error,
  ].filter(Boolean);
  const action = actionOf(version);
  row.classList.toggle("is-serving", version.state === "serving");
  row.replaceChildren(
    make("div", { class: "panel-head" },
      make("b", {}, version.id),
      make("span", { class: "badge" }, version.erased ? "deleted" : version.state),
      ...(action ? [make("button", { type: "button", class: "quiet-button", onclick: () => act(action.run, refresh) }, action.label)] : []),
    ),
    make("p", { class: "fine-print" }, ...facts.flatMap((fact) => [" · ", fact]).slice(1)),
  );
}

function describeOutcomes({ answers, errors, rated, disliked }) {
  const parts = [pluralize(answers, "answer", "answers"), errors && pluralize(errors, "error", "errors"), rated && `${formatNumber(disliked)} of ${formatNumber(rated)} ratings bad`];
  return parts.filter(Boolean).join(", ");
}

/** The button of a version; null if it has none. */
function actionOf(version) {
  const { state, erased, now } = version;
  if (state === "serving") return now.target ? { label: "Roll back", run: () => rollBack(version, now) } : null;
  return erased ? null : { label: "Promote", run: () => promote(version, now) };
}

function createFigure() {
  return make("li", { class: "improve-figure panel" },
    make("div", { class: "panel-head" }),
    make("div", { class: "improve-image" }),
    make("details", { class: "numbers" }, make("summary", {}, "Numbers"), make("div", { class: "improve-table" })),
  );
}

function updateFigure(row, figure) {
  const last = figure.rows.at(-1);
  row.querySelector(".panel-head").replaceChildren(
    make("b", {}, figure.label), make("span", { class: "fine-print" }, `${formatFigure(last.base)} → ${formatFigure(last.value)}`),
  );
  row.querySelector(".improve-image").replaceChildren(figureLine(figure));
  row.querySelector(".improve-table").replaceChildren(figureTable(figure));
}

function updateCycle(row, cycle) {
  const title = cycle.outcome ?? (cycle.isRunning ? `runs: ${nextStep(cycle)}` : `interrupted in ${nextStep(cycle)}`);
  const version = cycle.version === null ? "" : `${cycle.model}@${cycle.version}`;
  row.value = cycle.number;
  row.replaceChildren(
    make("div", { class: "panel-head" },
      make("b", {}, `Cycle ${cycle.number}`),
      make("span", { class: `badge is-${(cycle.outcome ?? "open").replaceAll(" ", "-")}` }, title),
      make("span", { class: "fine-print" }, timeElement(cycle.started), version && ` · ${version}`),
      ...(cycle.has_report ? [reportLink(cycle)] : []),
    ),
    ...(cycle.reason ? [make("p", { class: "improve-reason" }, cycle.reason)] : []),
    ...(cycle.steps.includes("select") ? [make("p", { class: "fine-print" }, describeSelection(cycle))] : []),
  );
}

const nextStep = ({ steps }) => STEPS.find((step) => !steps.includes(step)) ?? STEPS.at(-1);

function describeSelection({ answers, new_answers: numNew, examples, contributors, dropped, masked }) {
  const counts = (entries) => Object.entries(entries).map(([name, count]) => `${formatNumber(count)} ${name.replaceAll("_", " ")}`).join(", ");
  const people = contributors ? ` of ${pluralize(contributors, "person", "people")}` : "";
  return [
    `${pluralize(answers, "answer", "answers")} (${formatNumber(numNew)} new)`,
    `${pluralize(examples, "example", "examples")}${people}`,
    Object.keys(dropped).length && `dropped: ${counts(dropped)}`,
    Object.keys(masked).length && `masked: ${counts(masked)}`,
  ].filter(Boolean).join(" · ");
}

function reportLink({ model, number }) {
  const title = `Report of cycle ${number} of ${model}`;
  return make("a", {
    class: "improve-report", href: api.reportPath(model, number), target: "_blank", rel: "noopener", "aria-label": title,
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab, which works on a server without keys
      event.preventDefault();
      openReport(title, model, number);
    },
  }, "Report");
}

async function openReport(title, model, number) {
  try {
    await showReport(title, await api.improvementReport(model, number));
  } catch (error) {
    showError(error.message, () => openReport(title, model, number));
  }
}

const refresh = pollPage(read, render);
