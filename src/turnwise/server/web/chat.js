// The chat page: its parts, and the keys that belong to none of them.

import { AnswerFeedback } from "./answer_feedback.js";
import { AnswerGeneration } from "./answer_generation.js";
import { addChatCommands } from "./chat_commands.js";
import { toRequestMessage } from "./chat_request.js";
import { Composer } from "./composer.js";
import { ConversationSettings } from "./conversation_settings.js";
import { byId, make } from "./dom.js";
import { drafts } from "./drafts.js";
import { addFileDrop } from "./file_drop.js";
import { History } from "./history.js";
import { t } from "./i18n.js";
import { loadParser } from "./markdown.js";
import { OpenConversation } from "./open_conversation.js";
import { showError } from "./page.js";
import { PersonWatch } from "./person_watch.js";
import { addPanelButtons, closePanel, searchConversations, toggleSettings } from "./side_panels.js";
import { Steering, conversationOfHash } from "./steering.js";
import { Thread } from "./thread.js";

const SUGGESTIONS = [t("Hello, who are you?"), t("Tell me a joke"), t("How do I cancel my order?"), t("What can you do?")];
const POLICY_HINT = t("(A server started with --context-policy drop_oldest leaves out older messages instead.)");

const parts = { settings: null, failed: showFailure }; // they use each other
const chat = (parts.chat = new OpenConversation(parts));
const generation = (parts.generation = new AnswerGeneration(parts));
const showBranch = (id) => chat.showBranch(id);
const isLoading = () => chat.isOpening || parts.settings === null;
const editLast = () => {
  const index = chat.messages.findLastIndex(({ role }) => role === "user");
  if (index >= 0 && !chat.running && !chat.isOpening) parts.thread.edit(index);
  return index >= 0;
};

parts.feedback = new AnswerFeedback(() => chat.showFeedback(), showFailure);
parts.personWatch = new PersonWatch((id) => chat.reload(id));
parts.steering = new Steering({
  state: chat,
  model: () => parts.settings.model,
  messages: (index) => chat.messages.slice(0, index).map(toRequestMessage),
  sampling: () => parts.settings.forRequest().settings.parameters,
  steer: (index, answer) => generation.steer(index, answer),
  showBranch, failed: showFailure,
});
parts.thread = new Thread({
  retry: () => generation.retry(),
  edit: (index, text) => generation.edit(index, text),
  resume: () => generation.resume(),
  showCode: (index) => generation.showCode(index),
  showTokens: (index) => parts.steering.open(index),
  fork: (id) => chat.fork(id),
  showBranch, ...parts.feedback.handlers,
});
parts.list = new History({
  open: (id, message) => chat.open(id, message),
  deleted: (id) => chat.deleted(id),
  renamed: (id, title) => chat.renamed(id, title),
  showTree: (id) => chat.showTree(id),
  failed: showFailure,
});
parts.composer = new Composer({
  isReady: () => {
    if (chat.running?.isChoosing) byId("status").textContent = t("Choose an answer first.");
    return !chat.running && !isLoading();
  },
  isLoading,
  send: (text) => {
    drafts.set(chat.id, text); // until the server has stored it
    generation.send(text);
  },
  changed: (text) => drafts.set(chat.draftId, text),
  stop: () => generation.stop(),
  editLast,
});

function showFailure(error, retry) {
  showError(error.code === "context_length_exceeded" ? `${error.message} ${POLICY_HINT}` : error.message, retry);
}

function onKey(event) {
  if (parts.steering.handleKey(event)) return;
  if (event.altKey && !event.ctrlKey && !event.metaKey && event.code === "KeyN") {
    event.preventDefault();
    chat.startNew();
  } else if (event.key === "Escape" && !event.defaultPrevented && !event.isComposing && !document.querySelector("dialog[open]")) {
    if (parts.list.selection.escape()) return;
    if (chat.running) generation.stop();
    else closePanel();
  }
}

/** Load the panel of the settings; before the page is ready there is none. */
function loadSettings() {
  parts.settings?.loadPanel().catch((error) => showFailure(error, loadSettings));
}

/** Open what the address names: a conversation, and a place in an answer. */
async function openAddress() {
  const [id, hash] = [conversationOfHash(), location.hash];
  if (parts.settings && id && id !== chat.id) await chat.open(id);
  await parts.steering.openHash(hash);
}

async function start() {
  chat.openingId = conversationOfHash() || null; // typed text belongs to it, also before it is loaded
  chat.showDraft();
  try {
    parts.settings = await ConversationSettings.open();
    await parts.list.load();
  } catch (error) {
    const offline = await import("./offline.js").catch(() => null); // without the server, only a kept page has it
    if (offline?.isDown(error)) offline.waitForServer(start);
    else showFailure(error, start);
    return;
  }
  if (conversationOfHash()) await openAddress();
  else {
    parts.thread.show([]);
    chat.showDraft();
    parts.composer.sendPending();
  }
  if (!byId("controls").hidden) loadSettings();
  document.body.dataset.ready = "true";
  (globalThis.requestIdleCallback ?? setTimeout)(() => {
    loadParser().catch(() => {}); // the first answer needs it; later attempts show the text as it is
    navigator.serviceWorker?.register("/service-worker.js").catch(() => {}); // over https and on this machine; the page works without
  });
}

document.addEventListener("keydown", onKey);
addEventListener("hashchange", openAddress);
byId("new-chat").addEventListener("click", () => chat.startNew());
byId("open-tree").addEventListener("click", () => chat.showTree());
addPanelButtons(loadSettings);
addFileDrop(parts.list);
addChatCommands(
  () => ({ messages: chat.messages, isRunning: chat.running !== null, isStored: chat.conversation !== null, models: parts.settings?.models ?? [] }),
  {
    newChat: () => chat.startNew(), open: (id) => chat.open(id), showTree: () => chat.showTree(),
    retry: () => generation.retry(), stop: () => generation.stop(), showCode: (index) => generation.showCode(index), editLast,
    searchConversations, showSettings: () => toggleSettings(true), chooseModel: (id) => parts.settings.chooseModel(id),
  },
);
byId("suggestions").append(
  ...SUGGESTIONS.map((text) => make("li", {}, make("button", { type: "button", onclick: () => parts.settings && generation.send(text) }, text))),
);
start();
