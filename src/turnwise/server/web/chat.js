// The chat page: the open conversation, the running request, buttons and keys.

import * as api from "./api.js";
import { AnswerFeedback } from "./answer_feedback.js";
import { streamAnswer } from "./answer_stream.js";
import { describeContext, figures } from "./answer_figures.js";
import { Controls } from "./controls.js";
import { fork as forkConversation } from "./conversations_api.js";
import { byId, make } from "./dom.js";
import { drafts } from "./drafts.js";
import { addFileDrop } from "./file_drop.js";
import { History } from "./history.js";
import { t } from "./i18n.js";
import { showError } from "./page.js";
import { PersonWatch } from "./person_watch.js";
import { revealMessage } from "./reveal_message.js";
import { RunningAnswer } from "./running_answer.js";
import { toRequestMessage, toShownMessage } from "./shown_messages.js";
import { storage } from "./storage.js";
import { Thread } from "./thread.js";

const SUGGESTIONS = ["Hello, who are you?", "Tell me a joke", "How do I cancel my order?", "What can you do?"];
const MAX_TITLE_CHARS = 60;
const TITLE_WAITS_MS = [1500, 3000, 8000]; // after the first answer, until the model has written a title
const POLICY_HINT = " (A server started with --context-policy drop_oldest leaves out older messages instead.)";

const state = { conversation: null, messages: [], running: null, model: null, models: [], opening: 0 };
const feedback = new AnswerFeedback(showFeedback, showFailure);
const thread = new Thread({ retry, edit, resume, showBranch, fork, ...feedback.handlers });
const history_ = new History({ open, deleted: (id) => id === state.conversation?.id && newChat(), renamed, showTree, failed: showFailure });
const personWatch = new PersonWatch(reload);
let controls = null;

// Requests

async function send(text) {
  if (state.running || !text.trim()) return;
  const last = state.messages.at(-1);
  const before = last?.refusal ? state.messages.slice(0, -1) : state.messages; // a rejected message is replaced
  await generate([...before, { role: "user", content: text.trim() }], { draft: text });
}

const showable = (stored) => toShownMessage(stored, { models: state.models, feedback });

/** Show the ratings, after one of them has changed. */
function showFeedback() {
  state.messages = state.messages.map((message) => ({ ...message, feedback: feedback.of(message.id) }));
  if (!state.running) thread.show(state.messages, { keepScroll: true });
}

/** Generate the last answer again, as another version. After a failure there may be no answer yet. */
async function retry() {
  if (state.running) return;
  const byKeyboard = document.activeElement?.closest("#thread") !== null;
  const answered = state.messages.at(-1)?.role === "assistant";
  await generate(answered ? state.messages.slice(0, -1) : state.messages, { isRetry: answered });
  if (byKeyboard && [document.body, byId("stop"), byId("prompt")].includes(document.activeElement)) thread.focusRetry();
}

/** Replace a message. The following messages stay in another branch. */
async function edit(index, text) {
  if (state.running) return;
  await generate([...state.messages.slice(0, index), { role: "user", content: text }], { edited: index });
}

/** Continue an incomplete answer. */
async function resume() {
  if (!state.running) await generate(state.messages, { resumed: true });
}

/** Show another branch of the conversation. */
async function showBranch(id) {
  if (state.running) return;
  const { conversation, opening } = state;
  try {
    const stored = await api.showBranch(conversation.id, id);
    if (opening !== state.opening || state.running) return;
    adopt(stored);
  } catch (error) {
    showFailure(error, () => showBranch(id));
  }
}

/** Send messages and show the answer while it is streamed. The shown messages stay until the answer starts. */
async function generate(messages, options) {
  const running = options.running ?? new RunningAnswer();
  const before = state.messages;
  const message = { role: "assistant", content: options.resumed ? messages.at(-1).content : "" };
  state.running = running;
  showError("");
  if (!options.isRetry) thread.show(options.resumed ? messages.slice(0, -1) : messages);
  const streamingMessage = thread.add(message, messages.length);
  showRunning();
  thread.follow();
  const start = () => (options.running ? running.attach() : startAnswer(running, messages, options));
  let isReplaced = !options.isRetry;
  const { progress, failure } = await streamAnswer(start, streamingMessage, {
    isContinuation: options.resumed,
    isAttached: Boolean(options.running),
    onChunk: () => options.draft && drafts.discardStored(state.conversation?.id, options.draft), // the server stores before it answers
    onText: () => {
      if (!isReplaced) thread.dropReplaced();
      isReplaced = true;
    },
  });
  if (state.running !== running) return; // the user has opened another conversation meanwhile
  const isSilent = progress.service?.decision === "person" && !progress.at; // a person answers
  const answered = !isSilent && (progress.at > 0 || !["error", "cancelled"].includes(progress.finish));
  if (answered) {
    Object.assign(message, { finish: progress.finish, figures: figures(progress, performance.now()) });
    streamingMessage.finish(message.figures, describeContext(progress.context));
    state.messages = [...(options.resumed ? messages.slice(0, -1) : messages), message];
  } else {
    streamingMessage.remove();
    state.messages = failure || options.isRetry || options.resumed ? before : messages;
  }
  await synchronize(running, answered ? state.messages : messages, answered || isSilent || progress.finish === "cancelled");
  if (state.running !== running) return;
  state.running = null;
  thread.show(state.messages, { keepScroll: true });
  if (failure && !answered) restoreInput(options, messages);
  if (failure) showFailure(failure, isRetryable(failure) ? () => repeat(messages, options) : null);
  byId("status").textContent = failure ? "" : progress.finish === "cancelled" ? "Stopped." : "The answer is complete.";
  showRunning();
  if (state.conversation && ["person", "hand_off"].includes(progress.service?.decision)) personWatch.start(state.conversation.id);
  history_.load().catch(() => {}); // moves this conversation to the top of the list; a failure does not matter
  if (answered && messages.filter(({ role }) => role === "user").length === 1) watchTitle(state.conversation?.id);
}

/** Create the conversation if it is new, and send the request. Returns the chunks of the answer. */
async function startAnswer(running, messages, options) {
  await createConversation(messages);
  const request = { model: state.model, messages: messages.map(toRequestMessage), sampling_preset: "chat", ...controls.values() };
  if (state.conversation) request.conversation_id = state.conversation.id;
  if (options.resumed) Object.assign(request, { continue_final_message: true, echo: true });
  return running.send(request);
}

/** Show an answer that is being generated since before the conversation was opened. */
function attach({ id, running }) {
  const answer = running.findLast(({ after }) => after !== null); // of the branch that is shown
  if (!answer) return;
  state.messages = state.messages.slice(0, answer.after);
  generate(state.messages, { running: new RunningAnswer(id, answer.id) });
}

/** Show the title that the model writes after the first answer. */
async function watchTitle(id) {
  for (const wait of TITLE_WAITS_MS) {
    if (!id || history_.entry(id)?.title_source !== "first_words") return;
    await new Promise((done) => setTimeout(done, wait));
    await history_.load().catch(() => {});
  }
}

/** Load ids, branches and finish reasons from the server. Messages that it did not receive stay on the page. */
async function synchronize(running, expected, patient) {
  if (!state.conversation) return;
  for (const wait of patient ? [0, 100, 200, 400, 800] : [0]) {
    if (wait) await new Promise((done) => setTimeout(done, wait)); // a stopped answer is stored with a short delay
    const conversation = await api.conversation(state.conversation.id).catch(() => null);
    if (state.running !== running || !conversation) return;
    const same = expected.every(({ role, content }, i) => {
      const stored = conversation.messages[i];
      const last = i === expected.length - 1 && role === "assistant";
      return stored?.role === role && (last ? stored.content.startsWith(content) : stored.content === content);
    });
    if (same) return adopt(conversation);
  }
}

/** Show what a person has written, unless an answer is being generated: then it is loaded at its end. */
async function reload(id) {
  const stored = await api.conversation(id);
  if (state.conversation?.id === id && !state.running) adopt(stored);
}

function adopt(conversation) {
  state.conversation = conversation;
  state.messages = conversation.messages.map((stored, i) => {
    const message = showable(stored);
    const local = state.messages[i];
    const { figures, note } = local?.role === message.role && local.content === message.content ? local : {};
    return { ...message, figures: figures || message.figures, note };
  });
  thread.show(state.messages, { keepScroll: true });
}

/** Put a message without an answer back into the text box, if that is empty. */
function restoreInput({ draft, edited }, messages) {
  const box = byId("prompt");
  if (draft && !box.value.trim()) {
    box.value = draft;
    drafts.set(state.conversation?.id, draft);
    resizePrompt();
  }
  const text = messages.at(-1).content;
  if (edited !== undefined && state.messages.at(-1)?.content !== text) thread.edit(edited, text);
}

/** Send the same request again, and clear the text box if it still has its text. */
function repeat(messages, options) {
  if (state.running) return;
  const box = byId("prompt");
  if (options.draft && box.value === options.draft) {
    box.value = "";
    resizePrompt();
  }
  generate(messages, options);
}

/** Whether the same request may succeed later; false if the request itself was rejected. */
const isRetryable = ({ status }) => !(status >= 400 && status < 500) || [408, 429].includes(status);

/** Create a conversation for the first message, if the server stores conversations. */
async function createConversation(messages) {
  if (state.conversation || !history_.available) return;
  const title = messages.find((message) => message.role === "user").content.replace(/\s+/g, " ");
  const short = title.length > MAX_TITLE_CHARS ? `${title.slice(0, MAX_TITLE_CHARS - 1).trimEnd()}…` : title;
  try {
    const autoTitle = storage.get("auto_title") ?? true;
    state.conversation = await api.newConversation({ title: short, model: state.model, auto_title: autoTitle });
  } catch (error) {
    if (error.status !== 404 || error.code === "model_not_found") throw error;
    history_.available = false;
    return;
  }
  history.replaceState(null, "", `#${state.conversation.id}`);
  history_.add(state.conversation);
  showTitle();
}

function stop() {
  state.running?.stop();
}

// Navigation between conversations

/** Close the conversation. A running answer goes on in the server if it is stored; else it is cancelled. */
function leaveConversation() {
  state.running?.leave();
  personWatch.stop();
  state.running = null;
  state.opening += 1;
  showError("");
  showRunning();
}

function newChat() {
  leaveConversation();
  Object.assign(state, { conversation: null, messages: [] });
  history.replaceState(null, "", location.pathname);
  thread.show([]);
  showTitle();
  history_.show(null);
  toggleSidebar(false);
  showDraft();
  byId("prompt").focus();
}

/** Show the draft of the conversation in the text box. */
function showDraft() {
  byId("prompt").value = drafts.get(state.conversation?.id);
  resizePrompt();
}

/** Open a conversation, and go to a message of it. */
async function open(id, messageId = null) {
  leaveConversation();
  toggleSidebar(false);
  const opening = state.opening;
  try {
    const isElsewhere = ({ messages }) => messageId && !messages.some((message) => message.id === messageId);
    let stored = await api.conversation(id);
    if (isElsewhere(stored)) stored = await api.showBranch(id, messageId).catch(() => stored); // in another branch
    if (opening !== state.opening) return; // the user has opened another one meanwhile
    state.conversation = stored;
    await feedback.load(id);
    if (opening !== state.opening) return;
    state.messages = stored.messages.map(showable);
    const last = state.messages.findLast(({ role }) => role === "user");
    if (last && !last.refusal) drafts.discardStored(id, last.content);
    if (stored.messages.some(({ meta }) => meta.handoff)) personWatch.start(id);
    useModel(state.models.some((model) => model.id === stored.model) ? stored.model : state.model);
  } catch (error) {
    showFailure(error, () => open(id));
    return;
  }
  history.replaceState(null, "", `#${id}`);
  thread.show(state.messages);
  showTitle();
  history_.show(id);
  showDraft();
  byId("prompt").focus();
  attach(state.conversation);
  if (messageId) revealMessage(thread, messageId);
}

/** Copy the branch up to a message to a new conversation, and open it. */
async function fork(messageId, id = state.conversation?.id) {
  try {
    const { id: copy } = await forkConversation(id, messageId);
    await open(copy);
    await history_.load();
    byId("status").textContent = t("This is a new conversation with a copy of the messages.");
  } catch (error) {
    showFailure(error, () => fork(messageId, id));
  }
}

async function showTree(id = state.conversation?.id) {
  try {
    const { showConversationTree } = await import("./conversation_tree.js");
    await showConversationTree(id, { go: (message) => message && open(id, message), fork: (message) => message && fork(message, id) });
  } catch (error) {
    showFailure(error, () => showTree(id));
  }
}

function renamed(id, title) {
  if (state.conversation?.id !== id) return;
  state.conversation.title = title;
  showTitle();
}

// Display

function showTitle() {
  const title = state.conversation?.title ?? t("New chat");
  byId("open-tree").hidden = !state.conversation;
  byId("title").textContent = title;
  document.title = state.conversation ? `${title} – Turnwise` : "Turnwise";
  history_.current = state.conversation?.id ?? null;
}

function showRunning() {
  const running = state.running !== null;
  if (running && document.activeElement === byId("send")) byId("prompt").focus();
  if (!running && document.activeElement === byId("stop")) byId("prompt").focus();
  byId("send").hidden = running;
  byId("stop").hidden = !running;
  byId("thread").classList.toggle("running", running);
  showSendable();
}

function showSendable() {
  byId("send").disabled = !byId("prompt").value.trim();
}

function showFailure(error, retry) {
  showError(error.code === "context_length_exceeded" ? error.message + POLICY_HINT : error.message, retry);
}

function toggleSidebar(isShown) {
  document.body.classList.toggle("sidebar-shown", isShown);
  byId("backdrop").hidden = !isShown;
  if (isShown) byId("new-chat").focus();
}

function toggleControls(isShown) {
  byId("controls").hidden = !isShown;
  byId("open-controls").setAttribute("aria-expanded", String(isShown));
  if (isShown) byId("close-controls").focus();
}

function useModel(name) {
  state.model = name;
  const model = state.models.find((entry) => entry.id === name);
  controls?.useDefaults(model.chat_defaults);
  const hasSeveral = state.models.length > 1;
  const element = hasSeveral
    ? make("select", { "aria-label": "Model", onchange: (event) => useModel(event.target.value) },
        ...state.models.map(({ id }) => make("option", { value: id, selected: id === name }, id)))
    : make("span", { title: `Model, context of ${model.max_model_len} tokens` }, name);
  byId("model").replaceChildren(element);
}

// Keys and buttons

function resizePrompt() {
  const box = byId("prompt");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
  showSendable();
}

function submit(event) {
  event?.preventDefault();
  if (state.running || !controls) return;
  const box = byId("prompt");
  const text = box.value;
  if (!text.trim()) return;
  drafts.set(state.conversation?.id, text); // until the server has stored it
  box.value = "";
  resizePrompt();
  send(text);
}

function onKey(event) {
  if (event.altKey && !event.ctrlKey && !event.metaKey && event.code === "KeyN") {
    event.preventDefault();
    newChat();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (history_.selection.escape()) return;
    if (state.running) stop();
    else if (!byId("controls").hidden) toggleControls(false), byId("open-controls").focus();
    else if (document.body.classList.contains("sidebar-shown")) toggleSidebar(false), byId("open-sidebar").focus();
  }
}

function listen() {
  byId("composer").addEventListener("submit", submit);
  byId("prompt").addEventListener("input", () => {
    resizePrompt();
    drafts.set(state.conversation?.id, byId("prompt").value);
  });
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  byId("stop").addEventListener("click", stop);
  byId("open-tree").addEventListener("click", () => showTree());
  byId("new-chat").addEventListener("click", newChat);
  byId("open-sidebar").addEventListener("click", () => toggleSidebar(true));
  byId("close-sidebar").addEventListener("click", () => toggleSidebar(false));
  byId("backdrop").addEventListener("click", () => toggleSidebar(false));
  byId("open-controls").addEventListener("click", () => toggleControls(byId("controls").hidden));
  byId("close-controls").addEventListener("click", () => toggleControls(false));
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", () => {
    const id = location.hash.slice(1);
    if (id && id !== state.conversation?.id) open(id);
  });
}

async function start() {
  try {
    const [models, specs] = await Promise.all([api.models(), api.parameters()]);
    state.models = models.data.filter((model) => model.task === "chat" && !model.version_of);
    useModel(models.default);
    controls = new Controls(specs, models.data.find((model) => model.id === models.default).chat_defaults);
    await history_.load();
  } catch (error) {
    showFailure(error, start);
    return;
  }
  const id = location.hash.slice(1);
  if (id) await open(id);
  else thread.show([]), showDraft();
  document.body.dataset.ready = "true";
}

listen();
addFileDrop(history_);
byId("suggestions").append(
  ...SUGGESTIONS.map((text) => make("li", {}, make("button", { type: "button", onclick: () => controls && send(text) }, text))),
);
resizePrompt();
start();
