// The page of the loop: what was collected, cycles with their reasons and reports, figures, and versions.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { figureLine, figureSeries, figureTable, formatFigure } from "./figure_line.js";
import { t } from "./i18n.js";
import { cycleState, describeNow, describeSelection, describeVersion } from "./improve_texts.js";
import { updateList } from "./keyed_list.js";
import { describeRefresh, staleError, timeElement } from "./monitor_format.js";
import { showError } from "./page.js";
import { showReport } from "./report_dialog.js";
import { promote, rollBack } from "./version_actions.js";

const REFRESH_MS = 15_000;

const state = { timer: null, controller: null, hasData: false };

async function refresh() {
  clearTimeout(state.timer);
  state.controller?.abort();
  const controller = (state.controller = new AbortController());
  let canRetry = true;
  try {
    const [improvements, versions] = await Promise.all([api.improvements(controller.signal), api.versions(controller.signal)]);
    render(improvements.data, versions.data);
    state.hasData = true;
    showError("");
  } catch (error) {
    if (error.name === "AbortError") return;
    canRetry = error.status !== 401 && error.status !== 403;
    showError(canRetry && state.hasData ? staleError(error) : error.message, refresh);
  }
  if (controller !== state.controller) return;
  document.body.dataset.ready = "true";
  if (canRetry) state.timer = setTimeout(() => document.hidden || refresh(), REFRESH_MS);
}

function render(improvements, versions) {
  const models = improvements.map((entry) => ({ ...entry, versions: versions.filter(({ model }) => model === entry.model) }));
  byId("improve-empty").hidden = models.length > 0;
  byId("improve-read").textContent = describeRefresh();
  updateList(byId("improve-models"), models, ({ model }) => model, createModel, updateModel);
}

function createModel({ model }) {
  const part = (name, title, ...elements) =>
    make("div", { class: `improve-part improve-${name}` }, make("h3", {}, title), ...elements);
  return make("section", { class: "improve-model", "aria-label": model },
    make("h2", { class: "improve-name" }, model),
    make("p", { class: "improve-now" }),
    make("p", { class: "error", hidden: true }),
    part("versions", t("Versions"), make("ul", { class: "entries" })),
    part("figures", t("Figures of the new versions"),
      make("p", { class: "fine-print legend" }, make("span", { class: "legend-new" }, t("New version")), make("span", { class: "legend-serving" }, t("Serving version"))),
      make("ul", { class: "entries improve-figure-list" })),
    part("cycles", t("Cycles"), make("ol", { class: "entries", reversed: true })),
  );
}

function updateModel(section, { model, running, new_answers: numNew, cycles, versions, error }) {
  const list = (name) => section.querySelector(`.improve-${name} > :is(ul, ol)`);
  const series = figureSeries(cycles);
  section.querySelector(".improve-now").textContent = describeNow(running, numNew, cycles);
  section.querySelector(".error").hidden = !error;
  section.querySelector(".error").textContent = error ?? "";
  for (const [name, entries] of [["versions", versions], ["figures", series], ["cycles", cycles]]) {
    section.querySelector(`.improve-${name}`).hidden = entries.length === 0;
  }
  const canRollBack = versions.some(({ state: name, erased }) => name === "retired" && !erased);
  const rows = [...versions].reverse().map((version) => ({ ...version, canRollBack }));
  updateList(list("versions"), rows, ({ number }) => number, () => make("li", { class: "improve-entry panel" }), updateVersion);
  updateList(list("figures"), series, ({ name }) => name, createFigure, updateFigure);
  const entries = [...cycles].reverse().map((cycle, index) => ({ ...cycle, model, isRunning: running && index === 0 && cycle.outcome === null }));
  updateList(list("cycles"), entries, ({ number }) => number, () => make("li", { class: "improve-entry panel" }), updateCycle);
}

function updateVersion(row, version) {
  const gate = version.scorecard.gate;
  const facts = [
    timeElement(version.created),
    ...describeVersion(version),
    version.error && make("span", { lang: "en" }, version.error),
  ].filter(Boolean);
  const action = actionOf(version, gate);
  row.classList.toggle("is-serving", version.state === "serving");
  row.replaceChildren(
    make("div", { class: "panel-head" },
      make("b", {}, version.id),
      make("span", { class: "badge" }, t(version.erased ? "deleted" : version.state)),
      ...(action ? [make("button", { type: "button", class: "quiet-button", onclick: () => act(action.run) }, action.label)] : []),
    ),
    make("p", { class: "fine-print" }, ...facts.flatMap((fact) => [" · ", fact]).slice(1)),
  );
}

/** The button of a version; null if it has none. */
function actionOf(version, gate) {
  if (version.state === "serving") return version.canRollBack ? { label: t("Roll back"), run: () => rollBack(version) } : null;
  if (version.erased) return null;
  const needsForce = !version.passed_gate && version.state === "candidate" && version.number > 1;
  return { label: t("Promote"), run: () => promote({ ...version, needsForce, gateReason: gate?.reason }) };
}

async function act(run) {
  try {
    if (!(await run())) return;
    showError("");
  } catch (error) {
    showError(error.message);
    return;
  }
  await refresh();
}

function createFigure() {
  return make("li", { class: "improve-figure panel" },
    make("div", { class: "panel-head" }),
    make("div", { class: "improve-image" }),
    make("details", { class: "numbers" }, make("summary", {}, t("Numbers")), make("div", { class: "improve-table" })),
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
  const version = cycle.version === null ? "" : `${cycle.model}@${cycle.version}`;
  row.value = cycle.number;
  row.replaceChildren(
    make("div", { class: "panel-head" },
      make("b", {}, t("Cycle {number}", cycle)),
      make("span", { class: `badge is-${(cycle.outcome ?? "open").replaceAll(" ", "-")}` }, cycleState(cycle)),
      make("span", { class: "fine-print" }, timeElement(cycle.started), version && ` · ${version}`),
      ...(cycle.has_report ? [reportLink(cycle)] : []),
    ),
    ...(cycle.reason ? [make("p", { class: "improve-reason", lang: "en" }, cycle.reason)] : []),
    ...(cycle.steps.includes("select") ? [make("p", { class: "fine-print" }, describeSelection(cycle))] : []),
  );
}

function reportLink({ model, number }) {
  const title = t("Report of cycle {number} of {model}", { number, model });
  return make("a", {
    class: "improve-report", href: api.reportPath(model, number), target: "_blank", rel: "noopener", "aria-label": title,
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab, which works on a server without keys
      event.preventDefault();
      openReport(title, model, number);
    },
  }, t("Report"));
}

async function openReport(title, model, number) {
  try {
    await showReport(title, await api.improvementReport(model, number));
  } catch (error) {
    showError(error.message, () => openReport(title, model, number));
  }
}

document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();
