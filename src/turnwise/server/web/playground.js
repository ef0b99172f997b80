// The playground: two setups answer the same message, and a person says which answer is better.

import * as api from "./api.js";
import { withSystemPrompt } from "./chat_request.js";
import { addCommands, addShortcuts, takesText } from "./commands.js";
import { ComparisonPair } from "./comparison_pair.js";
import { byId } from "./dom.js";
import { openFile, saveFile } from "./downloads.js";
import { t } from "./i18n.js";
import { showError, startPage } from "./page.js";
import { PlaygroundSetup } from "./playground_setup.js";
import { parsePrompts } from "./prompt_list.js";
import { PromptRun } from "./prompt_run.js";
import { showScores } from "./score_table.js";
import { storage } from "./storage.js";

const VERDICTS = ["left", "right", "equal", "both_bad"];
const state = { setups: null, declaration: null, histories: { a: [], b: [] }, pair: null, running: null, run: null, last: null, isStored: true, isBusy: false };

// One message to both sides

function createPair(messages, prompt) {
  const { a, b } = state.setups;
  const settings = { a: a.settings(), b: b.settings() };
  const labels = labelsOf(a, b, settings);
  const setups = Object.fromEntries(["a", "b"].map((name) => [name, { title: state.setups[name].title, label: labels[name], settings: settings[name] }]));
  const withPrompt = Object.fromEntries(["a", "b"].map((name) => [name, withSystemPrompt(messages[name], settings[name].system)]));
  return new ComparisonPair({ setups, messages: withPrompt, prompt, isBlind: byId("blind").checked, isStored: state.isStored });
}

/** Labels for the scores. Sides with the same model need different ones; sides with different models need none. */
function labelsOf(a, b, settings) {
  if (settings.a.model !== settings.b.model) return { a: a.name.value.trim() && a.label, b: b.name.value.trim() && b.label };
  const labels = { a: a.label || "A", b: b.label || "B" };
  return labels.a === labels.b ? { a: `${labels.a.slice(0, 38)} A`, b: `${labels.b.slice(0, 38)} B` } : labels;
}

async function send() {
  const box = byId("playground-text");
  const text = box.value.trim();
  if (!text || state.running || state.run || !state.setups) return;
  const { histories } = state;
  const message = { role: "user", content: text };
  const pair = createPair({ a: [...histories.a, message], b: [...histories.b, message] }, text);
  box.value = "";
  resize();
  byId("turns").append(pair.element);
  pair.element.scrollIntoView({ block: "nearest" });
  await show(pair, (signal) => pair.stream(signal));
  if (state.histories !== histories) return; // they were cleared meanwhile
  state.histories = { a: pair.history("a"), b: pair.history("b") };
}

/** Show a pair while it is generated, then ask for the verdict. */
async function show(pair, generate) {
  const controller = new AbortController();
  Object.assign(state, { pair, running: controller });
  showError("");
  byId("verdict-result").textContent = "";
  showState();
  await generate(controller.signal);
  if (state.running !== controller) return;
  state.running = null;
  showState();
  if (pair.isComplete) byId("status").textContent = t("Both answers are complete.");
}

function clear() {
  state.running?.abort();
  state.run?.end();
  Object.assign(state, { histories: { a: [], b: [] }, pair: null, running: null, run: null, last: null });
  byId("turns").replaceChildren();
  byId("verdict-result").textContent = "";
  byId("run-progress").textContent = "";
  showError("");
  showState();
  byId("playground-text").focus();
}

// Verdicts

async function decide(verdict, pair = state.pair) {
  if (pair !== state.pair || !pair?.isComplete || pair.verdict || state.running || state.isBusy) return;
  state.isBusy = true;
  try {
    await pair.decide(verdict);
  } catch (error) {
    if (pair === state.pair) showError(error.message, () => decide(verdict, pair));
    return;
  } finally {
    state.isBusy = false;
  }
  if (state.isStored) showScores().catch(() => {}); // the table shows the scores before this verdict
  if (pair !== state.pair) return; // the page was cleared, or the run ended, meanwhile
  state.last = pair;
  byId("verdict-result").textContent = result(pair);
  showState();
  if (state.run) await showNext();
  else byId("playground-text").focus();
}

function result(pair) {
  const winner = pair.setups[pair.outcome]?.title;
  const text = winner ? t("Better: {title}", { title: winner }) : pair.outcome === "equal" ? t("Equal.") : t("Both are bad.");
  return pair.comparison ? text : `${text} ${t("This server does not store it.")}`;
}

async function undo() {
  const { last } = state;
  if (!last || state.isBusy || state.run) return;
  state.isBusy = true;
  try {
    await last.undo();
    state.last = null;
    byId("verdict-result").textContent = t("The choice is taken back.");
    if (state.isStored) await showScores();
  } catch (error) {
    showError(error.message, undo);
  } finally {
    state.isBusy = false;
  }
  showState();
  byId("verdict").focus();
}

// A list of prompts

async function startRun(event) {
  event.preventDefault();
  if (state.running || state.run || !state.setups) return;
  let prompts;
  try {
    prompts = parsePrompts(byId("prompts-text").value);
    byId("prompts-problem").textContent = "";
  } catch (error) {
    byId("prompts-problem").textContent = error.message;
    byId("prompts-text").focus();
    return;
  }
  clear();
  state.run = new PromptRun(prompts, (messages) => createPair({ a: messages, b: messages }, messages.at(-1).content));
  await showNext();
}

async function showNext() {
  const { run } = state;
  const started = run.next();
  if (!started) return endRun();
  byId("run-progress").textContent = t("Prompt {number} of {length}", { number: run.index + 1, length: run.length });
  byId("turns").replaceChildren(started.pair.element);
  await show(started.pair, () => started.done);
  if (state.run !== run) return;
  if (started.pair.isComplete) byId("verdict").focus({ preventScroll: true });
  else byId("skip-prompt").focus();
}

function endRun() {
  const { run } = state;
  if (!run) return;
  run.end();
  const { a, b, equal, both_bad: bothBad, skipped } = run.counts();
  byId("run-progress").textContent = t("Done: A was better {a} times, B {b} times; equal {equal}, both bad {bothBad}, skipped {skipped}.", { a, b, equal, bothBad, skipped });
  byId("prompts-save").onclick = () => saveFile("comparison.jsonl", run.toLines(), "application/jsonl");
  byId("prompts-save").hidden = false;
  Object.assign(state, { run: null, running: null, pair: null });
  byId("turns").replaceChildren();
  showState();
}

/** Go on to the next prompt without a verdict, unless answers are written or a verdict is being stored. */
function skip() {
  if (state.run && !state.running && !state.isBusy) showNext();
}

async function loadFile(text) {
  if (text === null) return;
  byId("prompts-text").value = text;
  byId("prompts-text").focus();
}

// Display, keys and buttons

function showState() {
  const { pair, running, run, last } = state;
  byId("playground-send").hidden = Boolean(running);
  byId("playground-stop").hidden = !running;
  byId("verdict").hidden = Boolean(running) || !pair || Boolean(pair.verdict) || !(pair.isComplete || run);
  for (const button of byId("verdict").querySelectorAll("[data-verdict]")) button.disabled = !pair?.isComplete;
  byId("skip-prompt").hidden = !run;
  byId("prompts-end").hidden = !run;
  byId("undo-verdict").hidden = !last || Boolean(run) || Boolean(running);
  byId("playground-text").disabled = Boolean(run);
  showSendable();
}

const showSendable = () => (byId("playground-send").disabled = !byId("playground-text").value.trim() || !state.setups);

function resize() {
  const box = byId("playground-text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
  showSendable();
}

function stop() {
  state.run?.end();
  state.running?.abort();
  if (state.run) endRun();
}

async function showCode(name) {
  const text = byId("playground-text").value.trim() || t("Hello!");
  const messages = [...state.histories[name], { role: "user", content: text }];
  const request = createPair({ a: messages, b: messages }, text).request(name);
  const dialog = await import("./code_dialog.js");
  await dialog.showCode(request, state.declaration);
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && state.running) return stop();
  if (event.repeat || takesText(event.target)) return; // a held key rates one pair
  const verdict = VERDICTS[Number(event.key) - 1];
  if (verdict && !byId("verdict").hidden) decide(verdict);
  else if (event.key.toLowerCase() === "s" && state.run) skip();
  else if (event.key.toLowerCase() === "u" && !byId("undo-verdict").hidden) undo();
  else return;
  event.preventDefault();
}

function listen() {
  const box = byId("playground-text");
  box.addEventListener("input", resize);
  box.addEventListener("keydown", (event) => {
    const isTouch = matchMedia("(pointer: coarse) and (hover: none)").matches;
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch) return;
    event.preventDefault();
    send();
  });
  byId("playground-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  byId("playground-stop").addEventListener("click", stop);
  byId("new-comparison").addEventListener("click", clear);
  byId("copy-setup").addEventListener("click", () => {
    state.setups?.b.copyFrom(state.setups.a);
    byId("status").textContent = t("B has the settings of A.");
  });
  for (const name of ["a", "b"]) byId(`code-${name}`).addEventListener("click", () => state.setups && showCode(name));
  for (const button of byId("verdict").querySelectorAll("[data-verdict]")) button.addEventListener("click", () => decide(button.dataset.verdict));
  byId("skip-prompt").addEventListener("click", skip);
  byId("undo-verdict").addEventListener("click", undo);
  byId("prompts-form").addEventListener("submit", startRun);
  byId("prompts-open").addEventListener("click", async () => loadFile(await openFile(".txt,.jsonl,.csv,text/plain")));
  byId("prompts-end").addEventListener("click", endRun);
  const drop = byId("prompts");
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", async (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    await loadFile(await file.text());
  });
  byId("blind").addEventListener("change", () => storage.set("playground.blind", byId("blind").checked));
  document.addEventListener("keydown", onKey);
  addCommands(() => [
    { label: t("Blind comparison"), run: () => byId("blind").click() },
    { label: t("Clear"), run: clear },
    { label: t("Copy A to B"), run: () => byId("copy-setup").click() },
  ]);
  addShortcuts(
    ["1", t("Left is better")], ["2", t("Right is better")], ["3", t("Equal")], ["4", t("Both are bad")],
    ["S", t("Skip")], ["U", t("Take the last choice back")], ["Esc", t("Stop")],
  );
}

async function start() {
  const [models, declaration, scenarios] = await Promise.all([api.models(), api.parameters(), api.scenarios()]);
  const served = models.data.filter(({ task }) => task === "chat");
  const other = served.find(({ id, version_of: versionOf }) => id !== models.default && !versionOf) ?? { id: models.default };
  const options = { declaration, scenarios, models: served };
  state.declaration = declaration;
  state.setups = { a: new PlaygroundSetup("a", { ...options, model: models.default }), b: new PlaygroundSetup("b", { ...options, model: other.id }) };
  byId("blind").checked = storage.get("playground.blind") ?? false;
  await showScores().catch((error) => {
    if (error.status !== 404) throw error;
    state.isStored = false;
    byId("scores-note").textContent = t("This server stores no answers, so choices are not counted.");
  });
  showState();
}

listen();
startPage(start);
