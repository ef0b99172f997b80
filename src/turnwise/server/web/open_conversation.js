// The open conversation: its messages and its branch, the title, and the way to another conversation.

import * as api from "./api.js";
import { fork } from "./conversations_api.js";
import { byId } from "./dom.js";
import { drafts } from "./drafts.js";
import { t } from "./i18n.js";
import { showError } from "./page.js";
import { revealMessage } from "./reveal_message.js";
import { toShownMessage } from "./shown_messages.js";
import { toggleSidebar } from "./side_panels.js";
import { storage } from "./storage.js";

const MAX_TITLE_CHARS = 60;
const SYNC_WAITS_MS = [0, 100, 200, 400, 800]; // a stopped answer is stored with a short delay

export class OpenConversation {
  /**
   * `parts` of the page: `thread`, `composer`, `list`, `settings`, `steering`, `feedback`, `personWatch`, `generation`, and
   * `failed(error, retry)`. They use each other; `settings` is null until the page has loaded them.
   */
  constructor(parts) {
    this.parts = parts;
    this.conversation = null; // as the server has it; null for a new one
    this.messages = [];
    this.running = null; // what generates an answer: a `RunningAnswer` or `AnswerChoices`
    this.opening = 0; // changes when another conversation is opened
    this.openingId = null; // of the conversation that is being loaded; the previous one is shown until then
  }

  get id() {
    return this.conversation?.id;
  }

  get isOpening() {
    return this.openingId !== null;
  }

  /** The conversation that typed text belongs to. */
  get draftId() {
    return this.openingId ?? this.id;
  }

  // Messages

  /** Show a conversation as it is stored. Figures that only this page knows stay. */
  adopt(conversation) {
    this.conversation = conversation;
    this.messages = conversation.messages.map((stored, i) => {
      const message = this.#toShown(stored);
      const local = this.messages[i];
      const { figures, note } = local?.role === message.role && local.content === message.content ? local : {};
      return { ...message, figures: figures || message.figures, note };
    });
    this.parts.thread.show(this.messages, { keepScroll: true });
  }

  #toShown(stored) {
    return toShownMessage(stored, { models: this.parts.settings.models, feedback: this.parts.feedback });
  }

  /**
   * Load ids, branches and finish reasons from the server. Messages that it did not receive stay on the page.
   *
   * @param running the answer that has ended.
   * @param expected the messages that the server should have.
   * @param options `isPatient`: wait until it has them; `isAttached`: they came from the server, which is right in any case.
   */
  async synchronize(running, expected, { isPatient, isAttached = false }) {
    if (!this.conversation) return;
    let stored = null;
    for (const wait of isPatient ? SYNC_WAITS_MS : [0]) {
      if (wait) await new Promise((done) => setTimeout(done, wait));
      stored = await api.conversation(this.id).catch(() => null);
      if (this.running !== running || !stored) return;
      const isComplete = expected.every(({ role, content }, i) => {
        const message = stored.messages[i];
        const isAnswer = i === expected.length - 1 && role === "assistant";
        return message?.role === role && (isAnswer ? message.content.startsWith(content) : message.content === content);
      });
      if (isComplete) return this.adopt(stored);
    }
    if (isAttached) this.adopt(stored);
  }

  /** Show what a person has written, unless an answer is being generated: then it is loaded at its end. */
  async reload(id) {
    const stored = await api.conversation(id);
    if (this.id === id && !this.running) this.adopt(stored);
  }

  /** Show the ratings, after one of them has changed. */
  showFeedback() {
    this.messages = this.messages.map((message) => ({ ...message, feedback: this.parts.feedback.of(message.id) }));
    if (!this.running) this.parts.thread.show(this.messages, { keepScroll: true });
  }

  /** Show the branch of a message. */
  async showBranch(message) {
    if (this.running || this.isOpening) return;
    const { opening } = this;
    try {
      const stored = await api.showBranch(this.id, message);
      if (opening !== this.opening || this.running) return;
      this.parts.steering.close(); // its answer may be in the other branch
      this.adopt(stored);
    } catch (error) {
      this.parts.failed(error, () => this.showBranch(message));
    }
  }

  // Other conversations

  /** Create a conversation for the first message, if the server stores conversations. */
  async create(messages) {
    const { list, settings } = this.parts;
    if (this.conversation || !list.available) return;
    const { opening } = this;
    const title = messages.find((message) => message.role === "user").content.replace(/\s+/g, " ");
    const short = title.length > MAX_TITLE_CHARS ? `${title.slice(0, MAX_TITLE_CHARS - 1).trimEnd()}…` : title;
    let created;
    try {
      created = await api.newConversation({
        title: short, model: settings.model, auto_title: storage.get("auto_title") ?? true, settings: settings.toStore(),
      });
    } catch (error) {
      if (error.status !== 404 || error.code === "model_not_found") throw error;
      list.available = false;
      return;
    }
    if (opening !== this.opening) {
      api.deleteConversation(created.id).catch(() => {}); // nothing was sent; the text is still a draft
      throw new DOMException("Another conversation was opened.", "AbortError");
    }
    this.conversation = created;
    history.replaceState(null, "", `#${created.id}`);
    settings.assign(created.id);
    list.add(created);
    this.showTitle();
  }

  /** Close the conversation. A running answer goes on in the server if it is stored; else it is cancelled. */
  #leave() {
    this.running?.leave();
    this.parts.steering.close();
    this.parts.personWatch.stop();
    this.running = null;
    this.openingId = null;
    this.opening += 1;
    showError("");
    this.parts.composer.showRunning(false);
  }

  startNew() {
    const { thread, list, composer, settings } = this.parts;
    composer.cancelPending();
    this.#leave();
    Object.assign(this, { conversation: null, messages: [] });
    settings?.show(null).catch((error) => this.parts.failed(error));
    history.replaceState(null, "", location.pathname);
    thread.show([]);
    this.showTitle();
    list.show(null);
    toggleSidebar(false);
    this.showDraft();
    composer.focus();
  }

  /** Open a conversation, and go to a message of it. */
  async open(id, messageId = null) {
    const { thread, list, composer, settings, feedback, personWatch, generation } = this.parts;
    const { running } = this;
    if (this.openingId !== id) composer.cancelPending(); // it was written for another one
    this.#leave();
    toggleSidebar(false);
    const { opening } = this;
    this.openingId = id;
    this.showDraft();
    try {
      const isElsewhere = ({ messages }) => messageId && !messages.some((message) => message.id === messageId);
      let stored = await api.conversation(id);
      if (isElsewhere(stored)) stored = await api.showBranch(id, messageId).catch(() => stored); // in another branch
      if (opening !== this.opening) return; // the user has opened another one meanwhile
      await feedback.load(id);
      if (opening !== this.opening) return;
      await settings.show(stored);
      if (opening !== this.opening) return;
      this.conversation = stored;
      this.messages = stored.messages.map((message) => this.#toShown(message));
      const last = this.messages.findLast(({ role }) => role === "user");
      if (last && !last.refusal) drafts.discardStored(id, last.content);
      if (stored.messages.some(({ meta }) => meta.handoff)) personWatch.start(id);
    } catch (error) {
      if (opening !== this.opening) return;
      this.openingId = null;
      this.#return(Boolean(running));
      this.parts.failed(error, () => this.open(id, messageId));
      return;
    }
    this.openingId = null;
    history.replaceState(null, "", `#${id}`);
    thread.show(this.messages);
    this.showTitle();
    list.show(id);
    this.showDraft();
    composer.focus();
    generation.attach(this.conversation);
    composer.sendPending();
    if (messageId) revealMessage(thread, messageId);
  }

  /** Show the previous conversation again, as another one could not be opened. Its answer may still be generated. */
  async #return(wasRunning) {
    const { opening, id } = this;
    this.parts.thread.show(this.messages, { keepScroll: true });
    this.showDraft();
    if (this.conversation?.messages?.some(({ meta }) => meta.handoff)) this.parts.personWatch.start(id);
    if (!wasRunning || !this.conversation) return;
    const stored = await api.conversation(id).catch(() => null);
    if (!stored || opening !== this.opening || this.running) return;
    this.adopt(stored);
    this.parts.generation.attach(stored);
  }

  /** Copy the branch up to a message to a new conversation, and open it. */
  async fork(message, id = this.id) {
    try {
      const { id: copy } = await fork(id, message);
      await this.open(copy);
      await this.parts.list.load();
      byId("status").textContent = t("This is a new conversation with a copy of the messages.");
    } catch (error) {
      this.parts.failed(error, () => this.fork(message, id));
    }
  }

  async showTree(id = this.id) {
    try {
      const { showConversationTree } = await import("./conversation_tree.js");
      await showConversationTree(id, {
        go: (message) => message && this.open(id, message),
        fork: (message) => message && this.fork(message, id),
      });
    } catch (error) {
      this.parts.failed(error, () => this.showTree(id));
    }
  }

  /** A conversation of the list was deleted. */
  deleted(id) {
    this.parts.settings?.discard(id);
    if (id === this.id) this.startNew();
  }

  renamed(id, title) {
    if (this.id !== id) return;
    this.conversation.title = title;
    this.showTitle();
  }

  // Display

  showTitle() {
    byId("open-tree").hidden = !this.conversation;
    byId("title").textContent = this.conversation?.title ?? t("New chat");
    document.title = this.conversation ? `${this.conversation.title} – Turnwise` : "Turnwise";
    this.parts.list.current = this.id ?? null;
  }

  /** Show the draft of the conversation in the text box. The caret stays if it is shown already. */
  showDraft() {
    const draft = drafts.get(this.draftId);
    if (this.parts.composer.text !== draft) this.parts.composer.text = draft;
  }
}
