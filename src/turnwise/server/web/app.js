// The chat page: what is open, what is being asked, and which key does what.

import * as api from "./api.js";
import { Controls } from "./controls.js";
import { byId, fillIcons, make } from "./dom.js";
import { drafts } from "./drafts.js";
import { History } from "./history.js";
import { ENDINGS, Thread } from "./thread.js";

const SUGGESTIONS = ["Hello, who are you?", "Tell me a joke", "How do I cancel my order?", "What can you do?"];
const LONGEST_TITLE = 60;
const POLICY_HINT = " (A server started with --context-policy drop_oldest leaves out older messages instead.)";

const state = { conversation: null, messages: [], running: null, model: null, models: [], opening: 0 };
const thread = new Thread({ retry, edit, resume, showBranch });
const history_ = new History({ open, gone: (id) => id === state.conversation?.id && fresh(), renamed, failed: complain });
let controls = null;

// Asking

async function send(text) {
  if (state.running || !text.trim()) return;
  const last = state.messages.at(-1);
  const before = last?.refusal ? state.messages.slice(0, -1) : state.messages; // a refused message is written anew
  await ask([...before, { role: "user", content: text.trim() }], { draft: text });
}

/** A message as it is sent, from one that is shown or stored. */
function plain({ role, content, pinned, name, tool_calls, tool_call_id }) {
  const message = { role, content };
  for (const [key, value] of Object.entries({ pinned, name, tool_calls, tool_call_id })) if (value) message[key] = value;
  return message;
}

/** A stored message as it is shown. */
function shown(stored) {
  const { finish, model, error } = stored.meta;
  const { id, role, content, pinned, name, tool_calls, tool_call_id, sibling_ids: siblings } = stored;
  const figures = [state.models.length > 1 && model, ENDINGS[finish]].filter(Boolean).join(" · ");
  return { id, role, content, pinned, name, tool_calls, tool_call_id, siblings, finish, figures, refusal: error?.message };
}

/** The last answer once more, beside the old one; after a failure there may be none yet. */
async function retry() {
  if (state.running) return;
  const byKeyboard = document.activeElement?.closest("#thread") !== null;
  const answered = state.messages.at(-1)?.role === "assistant";
  await ask(answered ? state.messages.slice(0, -1) : state.messages, { again: answered });
  if (byKeyboard && [document.body, byId("stop"), byId("prompt")].includes(document.activeElement)) thread.focusRetry();
}

/** Ask something else at this place; what came after stays as another branch. */
async function edit(index, text) {
  if (state.running) return;
  await ask([...state.messages.slice(0, index), { role: "user", content: text }], { edited: index });
}

/** Go on with an answer that was cut off. */
async function resume() {
  if (!state.running) await ask(state.messages, { resumed: true });
}

/** Show another branch of the conversation. */
async function showBranch(id) {
  if (state.running) return;
  const { conversation, opening } = state;
  try {
    const found = await api.showBranch(conversation.id, id);
    if (opening !== state.opening || state.running) return;
    adopt(found);
  } catch (error) {
    complain(error, () => showBranch(id));
  }
}

/** Send these messages and show the answer as it grows. Until there is one, nothing that was shown is lost. */
async function ask(asked, how) {
  const running = new AbortController();
  const before = state.messages;
  const message = { role: "assistant", content: how.resumed ? asked.at(-1).content : "" };
  const began = { at: 0, usage: null, finish: null, context: null };
  state.running = running;
  complain(null);
  if (!how.again) thread.show(how.resumed ? asked.slice(0, -1) : asked);
  const growing = thread.add(message, asked.length);
  showRunning();
  thread.follow();
  let failure = null;
  try {
    await remember(asked);
    const request = { model: state.model, messages: asked.map(plain), sampling_preset: "chat", ...controls.values() };
    if (state.conversation) request.conversation_id = state.conversation.id;
    if (how.resumed) request.continue_final_message = true;
    for await (const chunk of api.complete(request, running.signal)) {
      if (how.draft) drafts.stored(state.conversation?.id, how.draft); // the server stores before it answers
      const choice = chunk.choices[0];
      if (choice?.delta.content) {
        if (!began.at && how.again) thread.dropReplaced();
        began.at ||= performance.now();
        growing.append(choice.delta.content);
      }
      began.finish = choice?.finish_reason ?? began.finish;
      began.usage = chunk.usage ?? began.usage;
      began.context = chunk.context ?? began.context;
    }
  } catch (error) {
    if (error.name !== "AbortError") failure = error;
    began.finish = failure ? "error" : "cancelled";
  }
  if (state.running !== running) return; // the page has moved on to another conversation meanwhile
  const answered = began.at > 0 || !["error", "cancelled"].includes(began.finish);
  if (answered) {
    Object.assign(message, { finish: began.finish, figures: figures(began, performance.now()) });
    growing.finish(message.figures, shortened(began.context));
    state.messages = [...(how.resumed ? asked.slice(0, -1) : asked), message];
  } else {
    growing.remove();
    state.messages = failure || how.again || how.resumed ? before : asked;
  }
  await synchronize(running, answered ? state.messages : asked, answered || began.finish === "cancelled");
  if (state.running !== running) return;
  state.running = null;
  thread.show(state.messages, { keepPlace: true });
  if (failure && !answered) giveBack(how, asked);
  if (failure) complain(failure, mayHelp(failure) ? () => again(asked, how) : null);
  byId("status").textContent = failure ? "" : began.finish === "cancelled" ? "Stopped." : "The answer is complete.";
  showRunning();
  history_.load().catch(() => {}); // the answer moved this conversation to the top; not worth a complaint
}

/** Take over what the server stored: ids, branches and endings. What it did not get stays on the screen. */
async function synchronize(running, expected, patient) {
  if (!state.conversation) return;
  for (const wait of patient ? [0, 100, 200, 400, 800] : [0]) {
    if (wait) await new Promise((done) => setTimeout(done, wait)); // a stopped answer is stored a moment later
    const found = await api.conversation(state.conversation.id).catch(() => null);
    if (state.running !== running || !found) return;
    const same = expected.every(({ role, content }, i) => {
      const stored = found.messages[i];
      const last = i === expected.length - 1 && role === "assistant";
      return stored?.role === role && (last ? stored.content.startsWith(content) : stored.content === content);
    });
    if (same) return adopt(found);
  }
}

function adopt(found) {
  state.conversation = found;
  state.messages = found.messages.map((stored, i) => {
    const message = shown(stored);
    const local = state.messages[i];
    const { figures, note } = local?.role === message.role && local.content === message.content ? local : {};
    return { ...message, figures: figures || message.figures, note };
  });
  thread.show(state.messages, { keepPlace: true });
}

/** A message that was not answered is in the text box again, unless something else is. */
function giveBack({ draft, edited }, asked) {
  const box = byId("prompt");
  if (draft && !box.value.trim()) {
    box.value = draft;
    drafts.set(state.conversation?.id, draft);
    grow();
  }
  const text = asked.at(-1).content;
  if (edited !== undefined && state.messages.at(-1)?.content !== text) thread.edit(edited, text);
}

/** The same request again; the text that was given back to the box is on its way again. */
function again(asked, how) {
  if (state.running) return;
  const box = byId("prompt");
  if (how.draft && box.value === how.draft) {
    box.value = "";
    grow();
  }
  ask(asked, how);
}

/** Whether the same request may succeed later: not where the request itself was refused. */
const mayHelp = ({ status }) => !(status >= 400 && status < 500) || [408, 429].includes(status);

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
  history_.add(state.conversation);
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
  if (ENDINGS[finish]) parts.push(ENDINGS[finish]);
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
  showDraft();
  byId("prompt").focus();
}

/** The text box of another conversation. */
function showDraft() {
  byId("prompt").value = drafts.get(state.conversation?.id);
  grow();
}

async function open(id) {
  leave();
  toggleSidebar(false);
  const opening = state.opening;
  try {
    const found = await api.conversation(id);
    if (opening !== state.opening) return; // another one was clicked meanwhile
    state.conversation = found;
    state.messages = found.messages.map(shown);
    const last = state.messages.findLast(({ role }) => role === "user");
    if (last && !last.refusal) drafts.stored(id, last.content);
    useModel(state.models.some((model) => model.id === found.model) ? found.model : state.model);
  } catch (error) {
    complain(error, () => open(id));
    return;
  }
  history.replaceState(null, "", `#${id}`);
  thread.show(state.messages);
  showTitle();
  history_.show(id);
  showDraft();
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
  byId("banner-text").textContent = error.code === "context_length_exceeded" ? error.message + POLICY_HINT : error.message;
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
    : make("span", { title: `Model, context of ${model.max_model_len} tokens` }, name);
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
  drafts.set(state.conversation?.id, text); // until the server has it
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
  byId("prompt").addEventListener("input", () => {
    grow();
    drafts.set(state.conversation?.id, byId("prompt").value);
  });
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
  else thread.show([]), showDraft();
  document.body.dataset.ready = "true";
}

fillIcons();
listen();
byId("suggestions").append(
  ...SUGGESTIONS.map((text) => make("li", {}, make("button", { type: "button", onclick: () => controls && send(text) }, text))),
);
grow();
start();
