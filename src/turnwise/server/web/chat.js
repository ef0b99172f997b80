// The chat page: the open conversation, the running request, buttons and keys.

import * as api from "./api.js";
import { AnswerChoices, requestsOfChoices } from "./answer_choices.js";
import { AnswerFeedback } from "./answer_feedback.js";
import { ENDINGS, figures } from "./answer_figures.js";
import { addChatCommands } from "./chat_commands.js";
import { toRequest, toRequestMessage, withSystemPrompt } from "./chat_request.js";
import { ConversationSettings } from "./conversation_settings.js";
import { byId, make } from "./dom.js";
import { drafts } from "./drafts.js";
import { History } from "./history.js";
import { t } from "./i18n.js";
import { showError } from "./page.js";
import { PersonWatch } from "./person_watch.js";
import { Steering, conversationOfHash } from "./steering.js";
import { Thread } from "./thread.js";

const SUGGESTIONS = [t("Hello, who are you?"), t("Tell me a joke"), t("How do I cancel my order?"), t("What can you do?")];
const MAX_TITLE_CHARS = 60;
const POLICY_HINT = t("(A server started with --context-policy drop_oldest leaves out older messages instead.)");

const state = { conversation: null, messages: [], running: null, choosing: null, opening: 0 };
const feedback = new AnswerFeedback(showFeedback, showFailure);
const steering = new Steering({
  state,
  model: () => settings.model,
  messages: (index) => state.messages.slice(0, index).map(toRequestMessage),
  sampling: () => settings.forRequest().settings.parameters,
  steer, showBranch, failed: showFailure,
});
const thread = new Thread({ retry, edit, resume, showBranch, showCode, showTokens: (index) => steering.open(index), ...feedback.handlers });
const history_ = new History({ open, deleted, renamed, failed: showFailure });
const personWatch = new PersonWatch(reload);
const sentRequests = new Map(); // request by the id of its answer, of this visit
let settings = null; // of the open conversation; null until the page has loaded them

// Requests

async function send(text) {
  if (state.running || !text.trim()) return;
  const last = state.messages.at(-1);
  const before = last?.refusal ? state.messages.slice(0, -1) : state.messages; // a rejected message is replaced
  await generate([...before, { role: "user", content: text.trim() }], { draft: text });
}

/** Convert a stored message to a shown message. */
function toShownMessage(stored) {
  const { finish, model, error, person, consent, service } = stored.meta;
  const { id, role, content, pinned, name, tool_calls, tool_call_id, sibling_ids: siblings } = stored;
  const figures = [person, settings.models.length > 1 && model, ENDINGS[finish]].filter(Boolean).join(" · ");
  const takesRatings = role === "assistant" && Boolean(finish) && finish !== "in_progress" && consent !== "off";
  const takesTexts = takesRatings && consent === "full";
  const opinion = feedback.of(id);
  return {
    id, role, content, pinned, name, tool_calls, tool_call_id, siblings, finish, figures, refusal: error?.message,
    takesRatings, takesTexts, feedback: opinion, citations: service?.citations, meta: stored.meta,
  };
}

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

/** Answer again after given tokens, beside the answer `index`. */
async function steer(index, { tokens, sampling }) {
  if (!state.running) await generate(state.messages.slice(0, index), { tokens, sampling });
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
async function generate(history, options) {
  const { settings: requested, numAnswers } = settings.forRequest();
  const messages = options.resumed ? history : withSystemPrompt(history, requested.system);
  if (numAnswers > 1 && !options.resumed && !options.tokens) return generateSeveral(messages, options, requested, numAnswers);
  const running = new AbortController();
  const before = state.messages;
  const message = { role: "assistant", content: options.resumed ? messages.at(-1).content : "" };
  const progress = { at: 0, usage: null, finish: null, context: null, service: null };
  state.running = running;
  showError("");
  if (!options.isRetry) thread.show(options.resumed ? messages.slice(0, -1) : messages);
  const streamingMessage = thread.add(message, messages.length);
  showRunning();
  thread.follow();
  let failure = null;
  let request = null;
  try {
    await createConversation(messages);
    request = toRequest(messages, requested, { conversation: state.conversation?.id, isContinuation: options.resumed });
    if (options.tokens) Object.assign(request, options.sampling, { answer_tokens: options.tokens, echo: true });
    for await (const chunk of api.complete(request, running.signal)) {
      if (options.draft) drafts.discardStored(state.conversation?.id, options.draft); // the server stores before it answers
      const choice = chunk.choices[0];
      if (choice?.delta.content) {
        if (!progress.at && options.isRetry) thread.dropReplaced();
        progress.at ||= performance.now();
        streamingMessage.append(choice.delta.content);
      }
      progress.finish = choice?.finish_reason ?? progress.finish;
      progress.usage = chunk.usage ?? progress.usage;
      progress.context = chunk.context ?? progress.context;
      progress.service = chunk.service ?? progress.service;
    }
  } catch (error) {
    if (error.name !== "AbortError") failure = error;
    progress.finish = failure ? "error" : "cancelled";
  }
  if (state.running !== running) return; // the user has opened another conversation meanwhile
  const isSilent = progress.service?.decision === "person" && !progress.at; // a person answers
  const answered = !isSilent && (progress.at > 0 || !["error", "cancelled"].includes(progress.finish));
  if (answered) {
    message.citations = progress.service?.citations;
    Object.assign(message, { finish: progress.finish, figures: figures(progress, performance.now()) });
    streamingMessage.finish(message.figures, describeContext(progress.context));
    state.messages = [...(options.resumed ? messages.slice(0, -1) : messages), message];
  } else {
    streamingMessage.remove();
    state.messages = failure || options.isRetry || options.resumed ? before : messages;
  }
  await synchronize(running, answered ? state.messages : messages, answered || isSilent || progress.finish === "cancelled");
  if (state.running !== running) return;
  if (answered && state.messages.at(-1).id) sentRequests.set(state.messages.at(-1).id, request);
  state.running = null;
  thread.show(state.messages, { keepScroll: true });
  if (failure && !answered) restoreInput(options, messages);
  if (failure) showFailure(failure, isRetryable(failure) ? () => repeat(messages, options) : null);
  byId("status").textContent = failure ? "" : progress.finish === "cancelled" ? t("Stopped.") : t("The answer is complete.");
  showRunning();
  if (state.conversation && ["person", "hand_off"].includes(progress.service?.decision)) personWatch.start(state.conversation.id);
  history_.load().catch(() => {}); // moves this conversation to the top of the list; a failure does not matter
}

/** Generate several answers side by side. The user chooses one to go on with. */
async function generateSeveral(messages, options, requested, number) {
  let current = new AbortController();
  let choices = null;
  let failure = null;
  state.running = current;
  showError("");
  thread.show(messages);
  showRunning();
  try {
    await createConversation(messages);
    const request = toRequest(messages, requested, { conversation: state.conversation?.id });
    choices = new AnswerChoices(requestsOfChoices(request, number));
    thread.addElement(choices.element);
    const answered = await choices.stream(current.signal);
    if (state.running !== current) return; // the user has opened another conversation meanwhile
    drafts.discardStored(state.conversation?.id, options.draft ?? "");
    if (answered.length > 1) state.choosing = current = state.running = new AbortController();
    const chosen = answered.length > 1 ? await choices.choose(answered, current.signal) : answered[0];
    state.choosing = null;
    if (state.running !== current) return;
    await adoptChoice(messages, choices, chosen ?? answered[0], { isPreferred: answered.length > 1 && Boolean(chosen) });
    if (chosen) sentRequests.set(state.messages.at(-1)?.id, choices.requests[choices.columns.indexOf(chosen)]);
  } catch (error) {
    failure = error;
  }
  if (state.running !== current) return;
  state.running = null;
  thread.show(state.messages, { keepScroll: true });
  if (failure) {
    restoreInput(options, messages);
    showFailure(failure, isRetryable(failure) ? () => repeat(messages, options) : null);
  }
  showRunning();
  byId("prompt").focus();
  history_.load().catch(() => {});
}

/** Go on with one of several answers: its branch is shown, and it is stored as the better one. */
async function adoptChoice(messages, choices, chosen, { isPreferred }) {
  if (!chosen) return; // stopped before the first word
  const answer = { role: "assistant", content: chosen.text, finish: chosen.finish, figures: chosen.figures.textContent };
  state.messages = [...messages, answer];
  if (!state.conversation) return;
  const ids = await choices.findIds(state.conversation.id, chosen);
  if (ids.has(chosen)) adopt(await api.showBranch(state.conversation.id, ids.get(chosen)));
  if (isPreferred) await choices.prefer(chosen, ids);
}

/** Show the request that made an answer as code. Of answers of an earlier visit, the settings of now are shown. */
async function showCode(index) {
  const { id } = state.messages[index] ?? {};
  const request = sentRequests.get(id) ?? toRequest(state.messages.slice(0, index), settings.forRequest().settings);
  const note = sentRequests.has(id) ? "" : t("The settings are those of now; those of the answer are not stored.");
  const dialog = await import("./code_dialog.js");
  await dialog.showCode(request, settings.declaration, note);
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
    const message = toShownMessage(stored);
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
    state.conversation = await api.newConversation(short, settings.model);
  } catch (error) {
    if (error.status !== 404 || error.code === "model_not_found") throw error;
    history_.available = false;
    return;
  }
  history.replaceState(null, "", `#${state.conversation.id}`);
  settings.assign(state.conversation.id);
  history_.add(state.conversation);
  showTitle();
}

/** Describe the report of a context policy in one line. */
function describeContext(context) {
  if (!context) return "";
  if (context.dropped_tokens) return t("{number} older tokens were left out", { number: context.dropped_tokens });
  const number = context.dropped_messages;
  if (context.summary?.text) return number === 1 ? t("1 older message was summarised") : t("{number} older messages were summarised", { number });
  return number === 1 ? t("1 older message was left out") : t("{number} older messages were left out", { number });
}

function stop() {
  state.running?.abort();
}

// Navigation between conversations

/** Close the conversation. A running request is cancelled, and its result is ignored. */
function leaveConversation() {
  stop();
  steering.close();
  personWatch.stop();
  state.running = null;
  state.opening += 1;
  showError("");
  showRunning();
}

function newChat() {
  leaveConversation();
  Object.assign(state, { conversation: null, messages: [] });
  settings?.show(null);
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

async function open(id) {
  leaveConversation();
  toggleSidebar(false);
  const opening = state.opening;
  try {
    const stored = await api.conversation(id);
    if (opening !== state.opening) return; // the user has opened another one meanwhile
    state.conversation = stored;
    await feedback.load(id);
    if (opening !== state.opening) return;
    state.messages = stored.messages.map(toShownMessage);
    const last = state.messages.findLast(({ role }) => role === "user");
    if (last && !last.refusal) drafts.discardStored(id, last.content);
    if (stored.messages.some(({ meta }) => meta.handoff)) personWatch.start(id);
    const [first] = stored.messages;
    await settings.show(id, { model: stored.model, system: first?.role === "system" ? first.content : "" });
    if (opening !== state.opening) return;
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
}

function deleted(id) {
  settings.discard(id);
  if (id === state.conversation?.id) newChat();
}

function renamed(id, title) {
  if (state.conversation?.id !== id) return;
  state.conversation.title = title;
  showTitle();
}

// Display

function showTitle() {
  const title = state.conversation?.title ?? t("New chat");
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
  showError(error.code === "context_length_exceeded" ? `${error.message} ${POLICY_HINT}` : error.message, retry);
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

// Keys and buttons

function resizePrompt() {
  const box = byId("prompt");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
  showSendable();
}

/** Touch keyboards have no Shift+Enter: there Enter starts a new line, and the button sends. */
const hasTouchKeyboard = () => matchMedia("(pointer: coarse) and (hover: none)").matches;

function submit(event) {
  event?.preventDefault();
  if (state.choosing) byId("status").textContent = t("Choose an answer first.");
  if (state.running || !settings) return;
  const box = byId("prompt");
  const text = box.value;
  if (!text.trim()) return;
  drafts.set(state.conversation?.id, text); // until the server has stored it
  box.value = "";
  resizePrompt();
  send(text);
}

function onKey(event) {
  if (steering.handleKey(event)) return;
  if (event.altKey && !event.ctrlKey && !event.metaKey && event.code === "KeyN") {
    event.preventDefault();
    newChat();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
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
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !hasTouchKeyboard()) submit(event);
    if (event.key === "ArrowUp" && byId("prompt").value === "" && state.messages.length) {
      event.preventDefault();
      editLast();
    }
  });
  byId("stop").addEventListener("click", stop);
  byId("new-chat").addEventListener("click", newChat);
  byId("open-sidebar").addEventListener("click", () => toggleSidebar(true));
  byId("close-sidebar").addEventListener("click", () => toggleSidebar(false));
  byId("backdrop").addEventListener("click", () => toggleSidebar(false));
  byId("open-controls").addEventListener("click", () => toggleControls(byId("controls").hidden));
  byId("close-controls").addEventListener("click", () => toggleControls(false));
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", () => {
    const id = conversationOfHash();
    const path = location.hash;
    if (settings && id && id !== state.conversation?.id) open(id).then(() => steering.openHash(path));
    else steering.openHash(path);
  });
}

function searchConversations() {
  if (matchMedia("(max-width: 760px)").matches) toggleSidebar(true);
  byId("history-search").focus();
}

function editLast() {
  const index = state.messages.findLastIndex(({ role }) => role === "user");
  if (index >= 0 && !state.running) thread.edit(index);
}

async function start() {
  try {
    settings = await ConversationSettings.open();
    await history_.load();
  } catch (error) {
    showFailure(error, start);
    return;
  }
  const id = conversationOfHash();
  const path = location.hash;
  if (id) await open(id).then(() => steering.openHash(path));
  else thread.show([]), showDraft();
  document.body.dataset.ready = "true";
}

listen();
byId("prompt").enterKeyHint = hasTouchKeyboard() ? "enter" : "send";
addChatCommands(
  () => ({ messages: state.messages, isRunning: state.running !== null, models: settings?.models ?? [] }),
  {
    newChat, open, retry, stop, editLast, showCode, searchConversations,
    showSettings: () => toggleControls(true), chooseModel: (id) => settings.chooseModel(id),
  },
);
byId("suggestions").append(
  ...SUGGESTIONS.map((text) => make("li", {}, make("button", { type: "button", onclick: () => settings && send(text) }, text))),
);
resizePrompt();
start();
