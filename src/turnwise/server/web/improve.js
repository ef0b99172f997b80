// The page of the loop: what was collected, cycles with their reasons and reports, figures, and versions.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { figureLine, figureSeries, figureTable, formatFigure } from "./figure_line.js";
import { t } from "./i18n.js";
import { cycleState, describeNow, describeSelection, describeVersion } from "./improve_texts.js";
import { replaceParts, updateList } from "./keyed_list.js";
import { describeRefresh, timeElement } from "./monitor_format.js";
import { showError } from "./page.js";
import { act, pollPage } from "./polled_page.js";
import { showReport } from "./report_dialog.js";
import { promote, rollBack, routing } from "./version_actions.js";

const read = (signal) => Promise.all([api.improvements(signal), api.versions(signal)]);

function render([{ data: improvements }, { data: versions, rollback }]) {
  const models = improvements.map((entry) => {
    const ofModel = versions.filter(({ model }) => model === entry.model);
    return { ...entry, versions: ofModel, now: routing(ofModel, rollback[entry.model]) };
  });
  byId("improve-empty").hidden = models.length > 0;
  byId("improve-read").textContent = describeRefresh();
  updateList(byId("improve-models"), models, ({ model }) => model, createModel, updateModel);
}

function createModel({ model }) {
  const part = (name, title, ...elements) =>
    make("div", { class: `improve-part improve-${name}` }, make("h3", {}, title), ...elements);
  return make("section", { class: "improve-model", "aria-label": model },
    make("h2", { class: "improve-name", dir: "auto" }, model),
    make("p", { class: "improve-now" }),
    make("p", { class: "error", hidden: true }),
    part("versions", t("Versions"), make("ul", { class: "entries" })),
    part("figures", t("Figures of the new versions"),
      make("p", { class: "fine-print legend" }, make("span", { class: "legend-new" }, t("New version")), make("span", { class: "legend-serving" }, t("Serving version"))),
      make("ul", { class: "entries improve-figure-list" })),
    part("cycles", t("Cycles"), make("ol", { class: "entries", reversed: true })),
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

function updateVersion(row, version) {
  const gate = version.scorecard.gate;
  const facts = [
    timeElement(version.created),
    ...describeVersion(version),
    version.error && make("span", { lang: "en" }, version.error),
  ].filter(Boolean);
  const action = actionOf(version);
  row.classList.toggle("is-serving", version.state === "serving");
  replaceParts(row,
    make("div", { class: "panel-head" },
      make("b", {}, version.id),
      make("span", { class: "badge" }, t(version.erased ? "deleted" : version.state)),
      ...(action ? [make("button", { type: "button", class: "quiet-button", onclick: () => act(action.run, refresh) }, action.label)] : []),
    ),
    make("p", { class: "fine-print" }, ...facts.flatMap((fact) => [" · ", fact]).slice(1)),
  );
}

/** The button of a version; null if it has none. */
function actionOf(version) {
  const { state, erased, now } = version;
  if (state === "serving") return now.target ? { label: t("Roll back"), run: () => rollBack(version, now) } : null;
  return erased ? null : { label: t("Promote"), run: () => promote(version, now) };
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
  replaceParts(row,
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

const refresh = pollPage(read, render);
