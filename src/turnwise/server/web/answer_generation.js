// Sends messages and shows answers: new ones, other versions, continued ones, and several at once.

import * as api from "./api.js";
import { describeContext, figures } from "./answer_figures.js";
import { streamAnswer } from "./answer_stream.js";
import { toRequest, withSystemPrompt } from "./chat_request.js";
import { byId } from "./dom.js";
import { drafts } from "./drafts.js";
import { t } from "./i18n.js";
import { showError } from "./page.js";
import { RunningAnswer } from "./running_answer.js";

const MAX_SENT_REQUESTS = 20; // that are kept for their code
const TITLE_WAITS_MS = [1500, 3000, 8000]; // after the first answer, until the model has written a title

export class AnswerGeneration {
  #sentRequests = new Map(); // request by the id of its answer, of this visit

  /** `parts` of the page: see `OpenConversation`, which is `chat`. */
  constructor(parts) {
    this.parts = parts;
  }

  get #chat() {
    return this.parts.chat;
  }

  async send(text) {
    const { messages, running } = this.#chat;
    if (running || !text.trim()) return;
    const before = messages.at(-1)?.refusal ? messages.slice(0, -1) : messages; // a rejected message is replaced
    await this.#generate([...before, { role: "user", content: text.trim() }], { draft: text });
  }

  /** Generate the last answer again, as another version. After a failure there may be no answer yet. */
  async retry() {
    const { messages, running } = this.#chat;
    if (running) return;
    const byKeyboard = document.activeElement?.closest("#thread") !== null;
    const answered = messages.at(-1)?.role === "assistant";
    await this.#generate(answered ? messages.slice(0, -1) : messages, { isRetry: answered });
    if (byKeyboard && [document.body, byId("stop"), byId("prompt")].includes(document.activeElement)) this.parts.thread.focusRetry();
  }

  /** Replace a message. The following messages stay in another branch. */
  async edit(index, text) {
    const { messages, running } = this.#chat;
    if (!running) await this.#generate([...messages.slice(0, index), { role: "user", content: text }], { edited: index });
  }

  /** Continue an incomplete answer. */
  async resume() {
    if (!this.#chat.running) await this.#generate(this.#chat.messages, { isResumed: true });
  }

  /** Answer again after given tokens, beside the answer `index`. */
  async steer(index, { tokens, sampling }) {
    if (!this.#chat.running) await this.#generate(this.#chat.messages.slice(0, index), { tokens, sampling });
  }

  /** Show an answer that is being generated since before the conversation was opened. */
  attach({ id, running }) {
    const answer = running.findLast(({ after }) => after !== null); // of the branch that is shown
    if (!answer) return;
    this.#chat.messages = this.#chat.messages.slice(0, answer.after);
    this.#generate(this.#chat.messages, { attached: new RunningAnswer(id, answer.id) });
  }

  stop() {
    this.#chat.running?.stop();
  }

  /** Show the request that made an answer as code. Of answers of an earlier visit, the settings of now are shown. */
  async showCode(index) {
    const { messages } = this.#chat;
    const { settings } = this.parts;
    const sent = this.#sentRequests.get(messages[index]?.id);
    const note = sent ? "" : t("The settings are those of now; those of the answer are not stored.");
    const dialog = await import("./code_dialog.js");
    await dialog.showCode(sent ?? toRequest(messages.slice(0, index), settings.forRequest().settings), await settings.declaration(), note);
  }

  #keepRequest(id, request) {
    this.#sentRequests.set(id, request);
    if (this.#sentRequests.size > MAX_SENT_REQUESTS) this.#sentRequests.delete(this.#sentRequests.keys().next().value);
  }

  /** Send messages and show the answer while it is streamed. The shown messages stay until the answer starts. */
  async #generate(history, options) {
    const { thread, composer, personWatch } = this.parts;
    const chat = this.#chat;
    if (chat.isOpening) return; // the messages are those of the previous conversation
    const { attached, isResumed, isRetry } = options;
    const { settings, numAnswers } = this.parts.settings.forRequest();
    const messages = isResumed || attached ? history : withSystemPrompt(history, settings.system);
    if (numAnswers > 1 && !isResumed && !attached && !options.tokens) return this.#generateSeveral(messages, options, settings, numAnswers);
    const running = (chat.running = attached ?? new RunningAnswer());
    const before = chat.messages;
    const message = { role: "assistant", content: isResumed ? messages.at(-1).content : "" };
    if (!attached) showError(""); // else it may say why another conversation could not be opened
    if (!isRetry) thread.show(isResumed ? messages.slice(0, -1) : messages);
    const streamingMessage = thread.add(message, messages.length);
    composer.showRunning(true);
    thread.follow();
    let request = null;
    const start = async () => {
      if (attached) return running.attach();
      await chat.create(messages);
      request = toRequest(messages, settings, { conversation: chat.id, isContinuation: isResumed });
      if (options.tokens) Object.assign(request, options.sampling, { answer_tokens: options.tokens, echo: true });
      return running.send(request);
    };
    let isReplaced = !isRetry;
    let isDraft = Boolean(options.draft);
    const { progress, failure } = await streamAnswer(start, streamingMessage, {
      isContinuation: isResumed,
      isAttached: Boolean(attached),
      onChunk: () => {
        if (isDraft) drafts.discardStored(chat.id, options.draft); // the server stores before it answers
        isDraft = false;
      },
      onText: () => {
        if (!isReplaced) thread.dropReplaced();
        isReplaced = true;
      },
    });
    if (chat.running !== running) return; // the user has opened another conversation meanwhile
    const { finish, service, context } = progress;
    const isSilent = service?.decision === "person" && !progress.at; // a person answers
    const answered = !isSilent && (progress.at > 0 || !["error", "cancelled"].includes(finish));
    if (answered) {
      Object.assign(message, { citations: service?.citations, finish, figures: figures(progress, performance.now()) });
      streamingMessage.finish(message.figures, describeContext(context));
      chat.messages = [...(isResumed ? messages.slice(0, -1) : messages), message];
    } else {
      streamingMessage.remove();
      chat.messages = failure || isRetry || isResumed ? before : messages;
    }
    await chat.synchronize(running, answered ? chat.messages : messages, {
      isPatient: answered || isSilent || finish === "cancelled", isAttached: Boolean(attached),
    });
    if (chat.running !== running) return;
    const { id } = chat.messages.at(-1) ?? {};
    if (answered && id && request) this.#keepRequest(id, request);
    this.#end(failure, { messages, options, hasText: answered });
    byId("status").textContent = failure ? "" : finish === "cancelled" ? t("Stopped.") : t("The answer is complete.");
    if (chat.conversation && ["person", "hand_off"].includes(service?.decision)) personWatch.start(chat.id);
    if (answered) this.#watchTitle(messages);
  }

  /** Generate several answers side by side. The user chooses one to go on with. */
  async #generateSeveral(messages, options, settings, number) {
    const { thread, composer } = this.parts;
    const chat = this.#chat;
    const pending = (chat.running = new RunningAnswer()); // until the module is loaded
    showError("");
    thread.show(messages);
    composer.showRunning(true);
    const [module, loadingError] = await import("./answer_choices.js").then((loaded) => [loaded, null], (error) => [null, error]);
    if (chat.running !== pending) return;
    if (loadingError) return this.#end(loadingError, { messages, options, hasText: false });
    const choices = (chat.running = new module.AnswerChoices(number));
    let failure = null;
    thread.addElement(choices.element);
    if (pending.isStopped) choices.stop();
    try {
      await chat.create(messages);
      const answered = await choices.stream(module.requestsOfChoices(toRequest(messages, settings, { conversation: chat.id }), number));
      if (chat.running !== choices) return; // the user has opened another conversation meanwhile
      drafts.discardStored(chat.id, options.draft ?? "");
      const chosen = answered.length > 1 ? await choices.choose(answered) : answered[0];
      if (chat.running !== choices) return;
      await this.#adoptChoice(messages, choices, chosen ?? answered[0], { isPreferred: answered.length > 1 && Boolean(chosen) });
      const { id } = chat.messages.at(-1) ?? {};
      if (chosen && id) this.#keepRequest(id, choices.requests[choices.columns.indexOf(chosen)]);
    } catch (error) {
      failure = error;
    }
    if (chat.running !== choices) return;
    this.#end(failure, { messages, options, hasText: false });
    composer.focus();
    if (!failure) this.#watchTitle(messages);
  }

  /** Go on with one of several answers: its branch is shown, and it is stored as the better one. */
  async #adoptChoice(messages, choices, chosen, { isPreferred }) {
    const chat = this.#chat;
    if (!chosen) return; // stopped before the first word
    const answer = { role: "assistant", content: chosen.text, finish: chosen.finish, figures: chosen.figures.textContent };
    chat.messages = [...messages, answer];
    if (!chat.conversation) return;
    const ids = await choices.findIds(chat.id, chosen);
    if (ids.has(chosen)) chat.adopt(await api.showBranch(chat.id, ids.get(chosen)));
    if (isPreferred) await choices.prefer(chosen, ids);
  }

  /** The answer has ended: show the messages, and what failed. */
  #end(failure, { messages, options, hasText }) {
    const { thread, composer, list, failed } = this.parts;
    this.#chat.running = null;
    thread.show(this.#chat.messages, { keepScroll: true });
    if (failure && !hasText) this.#restoreInput(options, messages);
    if (failure) failed(failure, isRetryable(failure) ? () => this.#repeat(messages, options) : null);
    composer.showRunning(false);
    list.load().catch(() => {}); // moves this conversation to the top of the list; a failure does not matter
  }

  /** Put a message without an answer back into the text box, if that is empty. */
  #restoreInput({ draft, edited }, messages) {
    const { thread, composer } = this.parts;
    if (draft && !composer.text.trim()) {
      composer.text = draft;
      drafts.set(this.#chat.id, draft);
    }
    const text = messages.at(-1).content;
    if (edited !== undefined && this.#chat.messages.at(-1)?.content !== text) thread.edit(edited, text);
  }

  /** Send the same request again, and clear the text box if it still has its text. */
  #repeat(messages, options) {
    const { composer } = this.parts;
    if (this.#chat.running || this.#chat.isOpening) return;
    if (options.draft && composer.text === options.draft) composer.text = "";
    this.#generate(messages, options);
  }

  /** Show the title that the model writes after the first answer. */
  async #watchTitle(messages) {
    const { list } = this.parts;
    const { id } = this.#chat;
    if (messages.filter(({ role }) => role === "user").length !== 1) return;
    for (const wait of TITLE_WAITS_MS) {
      if (!id || list.entry(id)?.title_source !== "first_words") return;
      await new Promise((done) => setTimeout(done, wait));
      await list.load().catch(() => {});
    }
  }
}

/** Whether the same request may succeed later; false if the request itself was rejected. */
const isRetryable = ({ status }) => !(status >= 400 && status < 500) || [408, 429].includes(status);
