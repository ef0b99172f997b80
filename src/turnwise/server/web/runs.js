// The page of trainings and evaluations: the form, the plan, and the list of runs.

import * as api from "./run_api.js";
import { keepNewSettings, newSettings } from "./chat_settings.js";
import { byId, focusMain, make } from "./dom.js";
import { t } from "./i18n.js";
import { updateList } from "./keyed_list.js";
import { formatNumber, staleError } from "./monitor_format.js";
import { showError, startPage } from "./page.js";
import { formValues, prepareForm } from "./run_form.js";
import { formatDuration, RunView } from "./run_view.js";

const REFRESH_MS = 5000;
const form = byId("run-form");
const plan = byId("run-plan");
let planning = null;
let isStarting = false;
let [numRequests, shown] = [0, 0]; // of the list, and the last one that is shown

async function refresh() {
  const number = ++numRequests;
  const options = await api.list();
  if (number < shown) return options; // a later request was answered first
  shown = number;
  byId("runs-empty").hidden = options.data.length > 0;
  const create = () => {
    const view = new RunView(act, options.can_serve);
    return Object.assign(view.element, { view });
  };
  updateList(byId("runs-list"), options.data, ({ id }) => id, create, (row, run) => row.view.update(run));
  return options;
}

const ACTIONS = {
  async remove({ id, title }) {
    const { showDialog } = await import("./dialog.js");
    const text = t("Delete “{title}” with its model?", { title });
    if (await showDialog({ id: "delete-run", text, cancelLabel: t("Cancel"), confirmLabel: t("Delete"), isDangerous: true })) await api.remove(id);
  },
  async report({ id, title }) {
    const { showReport } = await import("./report_dialog.js");
    await showReport(title, await api.report(id));
  },
  async chat({ id }) {
    byId("status").textContent = t("The model is being loaded.");
    const { model } = await api.act(id, "serve");
    keepNewSettings({ ...newSettings(), model });
    location.assign("/");
  },
};

/** Run `action` and read the list again; an error is shown above. */
async function attempt(action) {
  showError("");
  try {
    await action();
    await refresh();
  } catch (error) {
    showError(error.message);
  }
  if (document.activeElement === document.body) focusMain(); // the button is gone
}

const act = (name, run) => attempt(() => (ACTIONS[name] ? ACTIONS[name](run) : api.act(run.id, name)));

const start = (run) => attempt(async () => {
  if (isStarting) return; // the second click of two
  isStarting = true;
  clearPlan();
  const { id } = await api.start(run).finally(() => (isStarting = false));
  await refresh();
  for (const { view, listKey } of byId("runs-list").children) view.details.open = listKey === id;
  byId("runs-list").firstElementChild.querySelector("summary").focus();
});

function clearPlan() {
  planning?.abort();
  plan.hidden = true;
}

async function showPlan() {
  if (!form.reportValidity()) return;
  clearPlan();
  const { signal } = (planning = new AbortController());
  const training = formValues(form);
  plan.hidden = false;
  plan.replaceChildren(make("p", {}, t("Reading the data and measuring the speed. This takes seconds to minutes.")));
  try {
    const { figures } = await api.plan(training, signal);
    const button = make("button", { type: "button", class: "primary-button", onclick: () => start({ training }) }, t("Start the training"));
    plan.replaceChildren(...planSentences(figures).map((text) => make("p", {}, text)), button);
    if (document.activeElement === byId("run-plan-button")) button.focus();
  } catch (error) {
    if (!signal.aborted) plan.replaceChildren(make("p", { class: "error" }, error.message));
  }
}

function planSentences({ examples, steps, tokens, seconds, memory, parameters, trainable }) {
  const count = (number) => formatNumber(Math.round(number));
  return [
    t("{train} examples to train on, {valid} to validate.", { train: count(examples.train), valid: count(examples.valid) }),
    t("{steps} steps, {tokens} tokens; {trainable} of {parameters} parameters are trained.", { steps: count(steps), tokens: count(tokens), trainable: count(trainable), parameters: count(parameters) }),
    t("About {duration} without validation and comparison, {memory} GB of memory.", { duration: formatDuration(seconds), memory: (memory / 1e9).toFixed(1) }),
  ];
}

/** Read the list again and again, until a key is needed that the user does not give. */
function watch() {
  let hasFailed = false;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      await refresh();
      if (hasFailed) showError("");
      hasFailed = false;
    } catch (error) {
      hasFailed = true;
      const isRejected = error.status === 401 || error.status === 403;
      if (isRejected) clearInterval(timer);
      showError(isRejected ? error.message : staleError(error), isRejected ? watch : null);
    }
  }, REFRESH_MS);
}

form.addEventListener("change", clearPlan);
form.onsubmit = (event) => {
  event.preventDefault();
  start({ [form.kind.value]: formValues(form) });
};
byId("run-plan-button").onclick = showPlan;
startPage(async () => {
  prepareForm(form, await refresh());
  watch();
});
