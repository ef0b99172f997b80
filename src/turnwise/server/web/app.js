// The chat page: what is open, what is being asked, and which key does what.

import * as api from "./api.js";
import { Controls } from "./controls.js";
import { byId, fillIcons, make } from "./dom.js";
import { History } from "./history.js";
import { Thread } from "./thread.js";

const SUGGESTIONS = ["Hello, who are you?", "Tell me a joke", "How do I cancel my order?", "What can you do?"];
const LONGEST_TITLE = 60;

const state = { conversation: null, messages: [], running: null, model: null, models: [], opening: 0 };
const thread = new Thread({ retry, edit });
const history_ = new History({ open, gone: (id) => id === state.conversation?.id && fresh(), renamed, failed: complain });
let controls = null;

// Asking

async function send(text) {
  if (state.running || !text.trim()) return;
  const message = { role: "user", content: text.trim() };
  state.messages.push(message);
  thread.add(message, state.messages.length - 1);
  await answer();
}

/** A message as it is sent, from one that is shown or kept. */
function plain({ role, content, pinned }) {
  return pinned ? { role, content, pinned } : { role, content };
}

/** The last answer once more; after a failure there may be none yet. */
async function retry() {
  if (state.running) return;
  if (state.messages.at(-1)?.role === "assistant") state.messages.pop();
  thread.show(state.messages);
  await answer();
}

/** Ask something else at this place; what came after it is dropped, here and in the store. */
async function edit(index, text) {
  if (state.running) return;
  state.messages = [...state.messages.slice(0, index), { role: "user", content: text }];
  thread.show(state.messages);
  await answer();
}

async function answer() {
  const running = new AbortController();
  const asked = state.messages.map(plain);
  const message = { role: "assistant", content: "" };
  const growing = thread.add(message, asked.length);
  const began = { at: 0, usage: null, finish: null, context: null };
  state.running = running;
  complain(null);
  showRunning();
  thread.follow();
  let failure = null;
  try {
    await remember(asked);
    const request = { model: state.model, messages: asked, sampling_preset: "chat", ...controls.values() };
    if (state.conversation) request.conversation_id = state.conversation.id;
    for await (const chunk of api.complete(request, running.signal)) {
      const choice = chunk.choices[0];
      if (choice?.delta.content) {
        began.at ||= performance.now();
        growing.append(choice.delta.content);
      }
      began.finish = choice?.finish_reason ?? began.finish;
      began.usage = chunk.usage ?? began.usage;
      began.context = chunk.context ?? began.context;
    }
  } catch (error) {
    if (error.name !== "AbortError") failure = error;
    began.finish = "stopped";
  }
  if (state.running !== running) return; // the page has moved on to another conversation meanwhile
  state.running = null;
  if (message.content || !(failure || began.finish === "stopped")) {
    state.messages.push(message);
    growing.finish(figures(began, performance.now()), shortened(began.context));
  } else {
    growing.remove();
  }
  if (failure) complain(failure, retry);
  byId("status").textContent = failure ? "" : began.finish === "stopped" ? "Stopped." : "The answer is complete.";
  showRunning();
  history_.load().catch(() => {}); // the answer moved this conversation to the top; not worth a complaint
}

/** Begin a conversation with the first message, where the server keeps any. */
async function remember(asked) {
  if (state.conversation || !history_.available) return;
  const title = asked.find((message) => message.role === "user").content.replace(/\s+/g, " ");
  const short = title.length > LONGEST_TITLE ? `${title.slice(0, LONGEST_TITLE - 1).trimEnd()}…` : title;
  try {
    state.conversation = await api.newConversation(short, state.model);
  } catch (error) {
    if (error.status !== 404 || error.code === "model_not_found") throw error;
    history_.available = false;
    return;
  }
  history.replaceState(null, "", `#${state.conversation.id}`);
  showTitle();
}

/** What a context policy did, as a line of the conversation. */
function shortened(context) {
  if (!context) return "";
  if (context.dropped_tokens) return `${context.dropped_tokens} older tokens were left out`;
  const many = context.dropped_messages === 1 ? "1 older message was" : `${context.dropped_messages} older messages were`;
  return `${many} ${context.summary?.text ? "summarised" : "left out"}`;
}

function figures({ at, usage, finish, context }, now) {
  const parts = [];
  if (usage) {
    const seconds = (now - at) / 1000;
    const written = usage.completion_tokens - (context?.summary?.completion_tokens ?? 0);
    parts.push(`${written} ${written === 1 ? "token" : "tokens"}`);
    if (at && written > 1 && seconds > 0) parts.push(`${(written / seconds).toFixed(1)} tokens/s`);
  }
  if (finish === "length") parts.push("cut off at the length limit");
  if (finish === "stopped") parts.push("stopped");
  return parts.join(" · ");
}

function stop() {
  state.running?.abort();
}

// Moving between conversations

/** Leave what is open; an answer under way is stopped, and what it does afterwards concerns nobody. */
function leave() {
  stop();
  state.running = null;
  state.opening += 1;
  complain(null);
  showRunning();
}

function fresh() {
  leave();
  Object.assign(state, { conversation: null, messages: [] });
  history.replaceState(null, "", location.pathname);
  thread.show([]);
  showTitle();
  history_.show(null);
  toggleSidebar(false);
  byId("prompt").focus();
}

async function open(id) {
  leave();
  toggleSidebar(false);
  const opening = state.opening;
  try {
    const found = await api.conversation(id);
    if (opening !== state.opening) return; // another one was clicked meanwhile
    state.conversation = found;
    state.messages = found.messages.map(plain);
    useModel(state.models.some((model) => model.id === found.model) ? found.model : state.model);
  } catch (error) {
    complain(error, () => open(id));
    return;
  }
  history.replaceState(null, "", `#${id}`);
  thread.show(state.messages);
  showTitle();
  history_.show(id);
  byId("prompt").focus();
}

function renamed(id, title) {
  if (state.conversation?.id !== id) return;
  state.conversation.title = title;
  showTitle();
}

// Showing

function showTitle() {
  const title = state.conversation?.title ?? "New chat";
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

/** Say what went wrong and offer the way on; null takes it back. */
function complain(error, again) {
  byId("banner").hidden = error === null;
  if (error === null) return;
  byId("banner-text").textContent = error.message;
  byId("banner-retry").hidden = !again;
  byId("banner-retry").onclick = () => {
    complain(null);
    again();
  };
}

function toggleSidebar(shown) {
  document.body.classList.toggle("sidebar-shown", shown);
  byId("backdrop").hidden = !shown;
  if (shown) byId("new-chat").focus();
}

function toggleControls(shown) {
  byId("controls").hidden = !shown;
  byId("open-controls").setAttribute("aria-expanded", String(shown));
  if (shown) byId("close-controls").focus();
}

function useModel(name) {
  state.model = name;
  const model = state.models.find((entry) => entry.id === name);
  controls?.useDefaults(model.chat_defaults);
  const many = state.models.length > 1;
  const shown = many
    ? make("select", { "aria-label": "Model", onchange: (event) => useModel(event.target.value) },
        ...state.models.map(({ id }) => make("option", { value: id, selected: id === name }, id)))
    : make("span", { title: `Model, context of ${model.context_length} tokens` }, name);
  byId("model").replaceChildren(shown);
}

// Keys and buttons

function grow() {
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
  box.value = "";
  grow();
  send(text);
}

function onKey(event) {
  if (event.altKey && !event.ctrlKey && !event.metaKey && event.code === "KeyN") {
    event.preventDefault();
    fresh();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (state.running) stop();
    else if (!byId("controls").hidden) toggleControls(false), byId("open-controls").focus();
    else if (document.body.classList.contains("sidebar-shown")) toggleSidebar(false), byId("open-sidebar").focus();
  }
}

function listen() {
  byId("composer").addEventListener("submit", submit);
  byId("prompt").addEventListener("input", grow);
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  byId("stop").addEventListener("click", stop);
  byId("new-chat").addEventListener("click", fresh);
  byId("open-sidebar").addEventListener("click", () => toggleSidebar(true));
  byId("close-sidebar").addEventListener("click", () => toggleSidebar(false));
  byId("backdrop").addEventListener("click", () => toggleSidebar(false));
  byId("open-controls").addEventListener("click", () => toggleControls(byId("controls").hidden));
  byId("close-controls").addEventListener("click", () => toggleControls(false));
  byId("banner-close").addEventListener("click", () => complain(null));
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", () => {
    const id = location.hash.slice(1);
    if (id && id !== state.conversation?.id) open(id);
  });
}

async function start() {
  try {
    const [models, specs] = await Promise.all([api.models(), api.parameters()]);
    state.models = models.data;
    useModel(models.default);
    controls = new Controls(specs, models.data.find((model) => model.id === models.default).chat_defaults);
    await history_.load();
  } catch (error) {
    complain(error, start);
    return;
  }
  const id = location.hash.slice(1);
  if (id) await open(id);
  else thread.show([]);
  document.body.dataset.ready = "true";
}

fillIcons();
listen();
byId("suggestions").append(
  ...SUGGESTIONS.map((text) => make("li", {}, make("button", { type: "button", onclick: () => controls && send(text) }, text))),
);
grow();
start();
