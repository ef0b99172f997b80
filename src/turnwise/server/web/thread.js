// The list of messages: show, stream, copy, retry and edit them.

import { ENDINGS } from "./answer_figures.js";
import { byId, copy, iconButton, make } from "./dom.js";
import { pressedTags, tagButtons } from "./feedback_tags.js";
import { t } from "./i18n.js";
import { LazyDrawing } from "./lazy_drawing.js";
import { MarkdownView } from "./markdown.js";
import { showMessageForm } from "./message_form.js";
import { plainText, withFewMarks } from "./markdown/plain_text.js";
import { enqueue } from "./markdown/work_queue.js";
import { sourceList, toSources } from "./sources.js";
import { StreamingMessage } from "./streaming_message.js";

const NEAR_THE_END = 80; // pixels from the end within which the list scrolls automatically
// A long conversation is shown from its end, so that no frame takes long: this many messages are shown at once, and the
// earlier ones are put before them in parts, first as empty entries. Of the answers, this many are drawn as Markdown at
// once. The others show their source until then, so that searching in the page finds it.
const NUM_AT_ONCE = 40;
const NUM_DRAWN_AT_ONCE = 12;

const makeEntry = ({ role }) => make("li", { class: `message ${role}` });

export class Thread {
  /**
   * `handlers` of the buttons: `retry()`, `edit(index, text)`, `resume()`, `showBranch(id)`, `fork(id)`, `showCode(index)`,
   * `showTokens(index)`, and for feedback
   * `rate(id, rating)`, `explain(id, tags)`, `closeReasons(id)` and `correct(id, text)`.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.shown = [];
    this.lastStreamed = null; // the entry of the answer that was streamed last
    this.list = byId("thread");
    this.scroller = byId("scroller");
    this.following = true;
    this.scroller.addEventListener("scroll", () => this.#updateFollowing(), { passive: true });
    byId("to-end").addEventListener("click", () => this.follow());
    this.filling = new LazyDrawing(this.scroller); // of entries with their parts
    this.drawing = new LazyDrawing(this.scroller); // of answers as Markdown
    new ResizeObserver(() => this.settle()).observe(this.list); // formulas and code grow after they have been shown
  }

  /** Show these messages. Entries that have not changed are reused. */
  show(messages, { keepScroll = false } = {}) {
    const focus = this.#focused();
    const before = this.shown;
    this.shown = messages.map((message, index) => {
      const key = JSON.stringify(message);
      const old = before[index];
      if (old?.key === key) return old;
      const isNew = !old || old.message.id !== message.id;
      if (isNew && index < messages.length - NUM_AT_ONCE) return { key, message, entry: makeEntry(message), isEmpty: true };
      return { key, message, entry: this.#refresh(message, index) };
    });
    this.lastStreamed = null;
    const first = Math.max(0, this.shown.findIndex(({ isEmpty }, i) => !isEmpty || i >= messages.length - NUM_AT_ONCE));
    const entries = this.shown.slice(first).map(({ entry }) => entry);
    if (entries.length !== this.list.children.length || entries.some((entry, i) => entry !== this.list.children[i])) {
      this.list.replaceChildren(...entries);
    }
    this.filling.keep(this.list);
    this.#fillLater(first, messages.length);
    if (first > 0) this.#showEarlier(this.shown);
    this.drawing.start(this.list, NUM_DRAWN_AT_ONCE);
    this.#markLast();
    this.#refocus(focus);
    byId("empty").hidden = messages.length > 0;
    if (keepScroll) this.settle();
    else this.follow();
  }

  /** Create an entry. The entry of a streamed answer is reused, because screen readers announce it. */
  #refresh(message, index) {
    const fresh = this.#entry(message, index);
    const { lastStreamed } = this;
    if (lastStreamed?.index !== index || message.role !== "assistant" || lastStreamed.message.content !== message.content) return fresh;
    if (message.citations?.length || lastStreamed.message.citations?.length) return fresh; // its marks lead to the new list of sources
    for (const part of [".actions", ".note", ".sources"]) lastStreamed.entry.querySelector(part).replaceWith(fresh.querySelector(part));
    return lastStreamed.entry;
  }

  /** What has the focus, and for a button the index of its message and its label: it may be replaced by an equal one. */
  #focused() {
    const element = document.activeElement?.closest("#thread *");
    const button = element?.closest("button");
    const entry = button?.closest(".message");
    return { element, index: this.shown.findIndex((shown) => shown.entry === entry), label: button?.getAttribute("aria-label") };
  }

  #refocus({ element, index, label }) {
    if (!element || document.activeElement !== document.body) return;
    const buttons = [...(this.shown[index]?.entry.querySelectorAll("button:not(:disabled)") ?? [])];
    const target = element.isConnected ? element : buttons.find((button) => button.getAttribute("aria-label") === label) ?? buttons.at(-1);
    target?.focus({ preventScroll: true });
  }

  focusRetry() {
    this.list.lastElementChild?.querySelector(".retry")?.focus({ preventScroll: true });
  }

  /** Remove the old answer when the first text of the new one arrives. */
  dropReplaced() {
    this.list.lastElementChild?.previousElementSibling?.remove();
  }

  /** The entry of a message, with all its parts; undefined: there is none. */
  entryAt(index) {
    const entry = this.shown[index]?.entry;
    if (!entry) return undefined;
    if (!entry.isConnected) this.#putBefore(Infinity);
    this.filling.draw(entry);
    return entry;
  }

  /** Put the entries that are not in the list into it, in parts, from the last to the first. */
  #showEarlier(shown) {
    enqueue(() => {
      if (shown !== this.shown) return; // other messages are shown
      if (this.#putBefore(NUM_AT_ONCE) > 0) this.#showEarlier(shown);
    });
  }

  /** Put the last `count` of the entries that are not in the list into it, and return the index of the first. */
  #putBefore(count) {
    const end = this.shown.findIndex(({ entry }) => entry.isConnected);
    const first = Math.max(0, end - count);
    this.list.prepend(...this.shown.slice(first, end).map(({ entry }) => entry));
    this.#fillLater(first, end);
    return first;
  }

  /** Fill the empty entries from `first` to `end` when there is time, or when they come near the window. */
  #fillLater(first, end) {
    for (let index = end - 1; index >= first; index -= 1) {
      const shown = this.shown[index];
      if (!shown.isEmpty) continue;
      shown.isEmpty = false;
      this.filling.drawLater(shown.entry, () => {
        const answer = this.#fill(shown.entry, shown.message, index);
        if (answer) this.drawing.drawLater(answer.body, answer.draw);
      });
    }
  }

  /** Edit a message in its place; `text` replaces its text in the editor. */
  edit(index, text = undefined) {
    const entry = this.entryAt(index);
    if (entry) this.#edit(entry, this.shown[index].message, index, text);
  }

  /** Add a message and return the object that streams text into it. */
  add(message, index) {
    byId("empty").hidden = true;
    const entry = this.#entry(message, index);
    this.list.append(entry);
    this.drawing.release(entry.querySelector(".body"));
    this.lastStreamed = { index, message, entry };
    this.#markLast();
    return new StreamingMessage(this, message, entry);
  }

  /** Add an element that is shown until the messages are shown again. */
  addElement(element) {
    this.list.append(element);
    this.#markLast();
    this.follow();
  }

  /** Scroll to the end, and keep scrolling while text arrives. */
  follow() {
    this.following = true;
    byId("to-end").hidden = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Scroll to the end after a change, unless the user has scrolled up. */
  settle() {
    if (this.following) this.follow();
    else this.#updateFollowing();
  }

  #updateFollowing() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight < NEAR_THE_END;
    byId("to-end").hidden = this.following;
  }

  #markLast() {
    for (const entry of this.list.children) entry.classList.toggle("last", entry === this.list.lastElementChild);
  }

  #entry(message, index) {
    const entry = makeEntry(message);
    const answer = this.#fill(entry, message, index);
    if (answer) this.drawing.add(answer.body, answer.draw);
    return entry;
  }

  /** Put the parts of a message into its entry. For an answer, return its `body` and `draw()`, which draws its Markdown. */
  #fill(entry, message, index) {
    const speakerName = { user: t("You"), assistant: t("Assistant") }[message.role] ?? t("Instructions");
    const sources = toSources(message.citations);
    const isAnswer = message.role === "assistant";
    const body = make("div", { class: isAnswer ? "body markdown plain" : "body", dir: "auto" }, ...plainText(withFewMarks(message.content)));
    const actions = make("div", { class: "actions" });
    const noteText = message.refusal ? t("Not answered: {reason}", { reason: message.refusal }) : message.note ?? "";
    const note = make("p", { class: "note", dir: "auto", hidden: !noteText }, noteText);
    const speaker = make("span", { class: "visually-hidden" }, t("{speaker}:", { speaker: speakerName }));
    entry.append(note, speaker, body, ...(isAnswer ? [sourceList(sources)] : []), actions);
    if (message.refusal) entry.append(note); // below the message
    const copyButton = iconButton("copy", t("Copy"), () => copy(message.content, copyButton));
    actions.append(...this.#branches(message), copyButton);
    if (message.role === "user") {
      const edit = iconButton("edit", t("Edit and ask again"), () => this.#edit(entry, message, index));
      edit.classList.add("when-idle");
      actions.append(edit);
    }
    if (["user", "assistant"].includes(message.role) && !message.refusal) {
      const retry = iconButton("retry", t("Answer again"), () => this.handlers.retry());
      retry.classList.add("only-last", "retry");
      actions.append(retry);
    }
    if (message.id && this.handlers.fork) {
      const fork = iconButton("fork", t("Continue from here in a new conversation"), () => this.handlers.fork(message.id));
      fork.classList.add("when-idle");
      actions.append(fork);
    }
    if (message.role === "assistant") {
      actions.append(iconButton("code", t("Show the request as code"), () => this.handlers.showCode(index)));
      if (message.finish in ENDINGS && message.content) actions.append(this.#continue());
      if (message.content) actions.append(this.#tokens(index));
      if (message.takesRatings) actions.append(...this.#ratingButtons(message));
      actions.append(make("span", { class: "figures" }, message.figures ?? ""));
      if (message.feedback?.asksReasons) actions.append(this.#reasons(message));
    }
    return isAnswer && { body, draw: () => new MarkdownView(body).update(message.content, { sources }) };
  }

  /** Thumbs up and down, and t("It should have said…"). The pressed thumb is pressed again to take the rating back. */
  #ratingButtons({ id, content, feedback, takesTexts }) {
    const thumb = (name, label, rating) => {
      const button = iconButton(name, label, () => this.handlers.rate(id, rating));
      button.setAttribute("aria-pressed", String(feedback?.rating === rating));
      return button;
    };
    const buttons = [thumb("thumbUp", t("Good answer"), "up"), thumb("thumbDown", t("Bad answer"), "down")];
    if (!takesTexts) return buttons;
    // The entry is searched at the click: a streamed answer keeps its entry and gets new buttons.
    const correct = make("button", {
      type: "button",
      class: "quiet-button correct-button",
      onclick: () => this.#correct(correct.closest(".message"), id, feedback?.correction ?? content),
    }, t("It should have said…"));
    return [...buttons, correct];
  }

  /** The reasons of a thumb down. */
  #reasons({ id, feedback }) {
    const close = () => this.handlers.closeReasons(id);
    const save = make("button", { type: "button", class: "primary-button", onclick: () => this.handlers.explain(id, pressedTags(panel)) }, t("Save the reasons"));
    const panel = make(
      "div",
      {
        class: "feedback-tags",
        role: "group",
        "aria-label": t("What was wrong?"),
        onkeydown: (event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          close();
        },
      },
      make("span", {}, t("What was wrong?")),
      ...tagButtons(feedback.tags),
      save,
      make("button", { type: "button", class: "quiet-button", onclick: close }, t("Close")),
    );
    return panel;
  }

  #continue() {
    const button = iconButton("forward", t("Continue this answer"), () => this.handlers.resume());
    button.classList.add("only-last");
    return button;
  }

  #tokens(index) {
    const button = iconButton("why", t("Why these words?"), () => this.handlers.showTokens(index));
    button.classList.add("when-idle");
    return button;
  }

  /** The buttons ‹ 2/3 › between the versions of a message. */
  #branches({ id, siblings = [] }) {
    if (siblings.length < 2) return [];
    const position = siblings.indexOf(id);
    const step = (name, label, to) => {
      const button = iconButton(name, label, () => this.handlers.showBranch(siblings[to]));
      button.disabled = !(to in siblings);
      button.classList.add("when-idle");
      return button;
    };
    return [
      make(
        "span",
        { class: "branches", role: "group", "aria-label": t("Version {number} of {length}", { number: position + 1, length: siblings.length }) },
        step("left", t("Previous version"), position - 1),
        make("span", { class: "branch-number" }, `${position + 1}/${siblings.length}`),
        step("right", t("Next version"), position + 1),
      ),
    ];
  }

  #edit(entry, message, index, text = message.content) {
    showMessageForm(entry, text, {
      label: t("Edit the message"),
      note: t("This message and the following ones are kept as another version."),
      submitLabel: t("Ask again"),
      submit: (changed) => this.handlers.edit(index, changed),
    });
  }

  #correct(entry, id, text) {
    showMessageForm(entry, text, {
      label: t("What the answer should have been"),
      note: t("The correction is stored as feedback. The conversation stays as it is. Ctrl+Enter saves it."),
      submitLabel: t("Save the correction"),
      needsControl: true,
      submit: (changed, done) => {
        done();
        entry.querySelector(".correct-button")?.focus({ preventScroll: true });
        this.handlers.correct(id, changed);
      },
    });
  }
}
