// The messages on screen: showing, streaming, copying, retrying, editing.

import { byId, copy, iconButton, make } from "./dom.js";
import { render } from "./markdown.js";

const NEAR_THE_END = 80; // pixels: a reader this close to the end wants to follow it

export class Thread {
  /** `on` says what the buttons do: `retry()` and `edit(index, text)`. */
  constructor(on) {
    this.on = on;
    this.list = byId("thread");
    this.scroller = byId("scroller");
    this.following = true;
    this.scroller.addEventListener("scroll", () => this.#noticeReader(), { passive: true });
    byId("to-end").addEventListener("click", () => this.follow());
  }

  /** Show these messages in place of what is there. */
  show(messages) {
    this.list.replaceChildren(...messages.map((message, index) => this.#entry(message, index)));
    this.#markLast();
    byId("empty").hidden = messages.length > 0;
    this.follow();
  }

  /** Add one message and return what lets it grow. */
  add(message, index) {
    byId("empty").hidden = true;
    const entry = this.#entry(message, index);
    this.list.append(entry);
    this.#markLast();
    return new Growing(this, message, entry);
  }

  /** Go to the end and stay there while it grows. */
  follow() {
    this.following = true;
    byId("to-end").hidden = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** After a change: follow the end, unless the reader has gone back to read. */
  settle() {
    if (this.following) this.follow();
    else this.#noticeReader();
  }

  #noticeReader() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight < NEAR_THE_END;
    byId("to-end").hidden = this.following;
  }

  #markLast() {
    for (const entry of this.list.children) entry.classList.toggle("last", entry === this.list.lastElementChild);
  }

  #entry(message, index) {
    const who = { user: "You", assistant: "Assistant" }[message.role] ?? "Instructions";
    const body = make("div", { class: "body" });
    if (message.role === "assistant") body.append(render(message.content));
    else body.textContent = message.content;
    const actions = make("div", { class: "actions" });
    const note = make("p", { class: "note", hidden: !message.note }, message.note ?? "");
    const speaker = make("span", { class: "hidden" }, `${who}:`);
    const entry = make("li", { class: `message ${message.role}` }, note, speaker, body, actions);
    const copyButton = iconButton("copy", "Copy", () => copy(message.content, copyButton));
    actions.append(copyButton);
    if (message.role === "user") {
      actions.append(iconButton("edit", "Edit and ask again", () => this.#edit(entry, message, index)));
    }
    if (message.role === "assistant") {
      const retry = iconButton("retry", "Answer again", () => this.on.retry());
      retry.classList.add("only-last");
      actions.append(retry, make("span", { class: "figures" }, message.figures ?? ""));
    }
    return entry;
  }

  #edit(entry, message, index) {
    const area = make("textarea", { value: message.content, class: "edit-area", "aria-label": "Edit the message" });
    const done = () => form.replaceWith(...before);
    const form = make(
      "form",
      {
        class: "edit",
        onsubmit: (event) => {
          event.preventDefault();
          if (area.value.trim()) this.on.edit(index, area.value.trim());
        },
        onkeydown: (event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) form.requestSubmit();
          else if (event.key === "Escape") done();
          else return;
          event.preventDefault();
          event.stopPropagation();
        },
      },
      area,
      make("p", { class: "edit-note" }, "What came after this message is replaced."),
      make("button", { type: "submit", class: "primary-button" }, "Ask again"),
      make("button", { type: "button", class: "quiet-button", onclick: done }, "Cancel"),
    );
    const before = [...entry.children];
    entry.replaceChildren(form);
    area.rows = Math.min(12, message.content.split("\n").length + 1);
    area.focus();
  }
}

/** A message that is being written; the screen is brought up to date once per frame. */
class Growing {
  constructor(thread, message, entry) {
    Object.assign(this, { thread, message, entry, frame: 0 });
    this.body = entry.querySelector(".body");
    if (message.role === "assistant") {
      entry.classList.add("growing");
      this.body.setAttribute("aria-live", "polite");
      this.body.setAttribute("aria-busy", "true"); // spoken when it is whole, not word by word
    }
  }

  append(text) {
    this.message.content += text;
    this.frame ||= requestAnimationFrame(() => this.#paint());
  }

  /** It is whole: `figures` is the small print under it, `note` a line above it. */
  finish(figures, note) {
    Object.assign(this.message, { figures, note });
    this.#paint();
    const line = this.entry.querySelector(".note");
    line.textContent = note;
    line.hidden = !note;
    this.entry.querySelector(".figures").textContent = figures;
    this.entry.classList.remove("growing");
    this.body.setAttribute("aria-busy", "false");
    this.thread.settle();
  }

  remove() {
    cancelAnimationFrame(this.frame);
    this.entry.remove();
  }

  #paint() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.body.replaceChildren(render(this.message.content));
    this.thread.settle();
  }
}
