// The classification page: the labels of a text as bars, or its labelled spans in colour.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";
import { showError, startPage } from "./page.js";

const MAX_SCORES = 10;
const NUM_COLOURS = 6; // classes `span-colour-0` and following in classify.css
const TASKS = ["sequence_classification", "token_classification"];

let tasks = new Map(); // of the served classifiers, by name
let running = null;

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

/** The scores as bars; the predicted labels are bold. */
function renderLabels({ labels, scores, is_truncated }) {
  const rows = scores.map(({ label, probability }) =>
    make("tr", { class: labels.includes(label) ? "predicted" : "" },
      make("th", { scope: "row" }, label),
      make("td", {}, make("meter", { value: probability, "aria-label": label })),
      make("td", {}, percent(probability)),
    ),
  );
  const notes = [
    labels.length === 0 && t("The classifier takes the text as one of no label: it is below the threshold."),
    is_truncated && t("The text is too long for the classifier: its end was not read."),
  ];
  return [
    make("table", { class: "label-scores" }, make("tbody", {}, ...rows)),
    ...notes.filter(Boolean).map((note) => make("p", {}, note)),
  ];
}

/** The text with its spans as marks. Offsets count code points; JavaScript strings count UTF-16 units. */
function renderSpans(text, spans) {
  const characters = Array.from(text);
  const names = [...new Set(spans.map(({ label }) => label))];
  const parts = [];
  let position = 0;
  for (const { start, end, label, probability } of spans) {
    parts.push(
      characters.slice(position, start).join(""),
      make("mark", { class: `span-colour-${names.indexOf(label) % NUM_COLOURS}`, title: `${label} · ${percent(probability)}` },
        characters.slice(start, end).join(""), make("span", { class: "span-label" }, label)),
    );
    position = end;
  }
  parts.push(characters.slice(position).join(""));
  const paragraph = make("p", { class: "tagged-text", dir: "auto" }, ...parts);
  return spans.length ? [paragraph] : [paragraph, make("p", {}, t("The tagger found nothing."))];
}

async function classify(event) {
  event?.preventDefault();
  const model = byId("classify-model").value;
  const text = byId("classify-text").value;
  if (!text.trim() || !tasks.has(model)) return;
  running?.abort();
  const current = (running = new AbortController());
  try {
    const isTagger = tasks.get(model) === "token_classification";
    const { data } = isTagger
      ? await api.tag({ model, input: text }, current.signal)
      : await api.classify({ model, input: text, top_k: MAX_SCORES }, current.signal);
    byId("classify-result").replaceChildren(...(isTagger ? renderSpans(text, data[0].spans) : renderLabels(data[0])));
    showError("");
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("classify-result").replaceChildren();
    showError(error.message, () => classify());
  }
}

function showSendable() {
  byId("classify-send").disabled = !byId("classify-text").value.trim() || tasks.size === 0;
}

async function start() {
  const { data } = await api.models();
  tasks = new Map(data.filter(({ task }) => TASKS.includes(task)).map(({ id, task }) => [id, task]));
  byId("classify-model").replaceChildren(...[...tasks.keys()].map((name) => make("option", { value: name }, name)));
  byId("classify-model").disabled = tasks.size === 0;
  if (tasks.size === 0) showError(t("This server has no classifier. Start it with: {command}", { command: "turnwise serve --classifier FOLDER" }));
  showSendable();
}

byId("classify-form").addEventListener("submit", classify);
byId("classify-text").addEventListener("input", showSendable);
byId("classify-model").addEventListener("change", () => classify());
startPage(start);
