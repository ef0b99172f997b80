// The box for messages, and the buttons that send a message and stop an answer.

import { byId } from "./dom.js";

/** Touch keyboards have no Shift+Enter: there Enter starts a new line, and the button sends. */
const hasTouchKeyboard = () => matchMedia("(pointer: coarse) and (hover: none)").matches;

export class Composer {
  #box = byId("prompt");
  #pendingText = null; // is sent when its conversation is loaded

  /**
   * `handlers`: `isReady()` tells whether a message can be sent now, `isLoading()` whether it can be sent soon, `send(text)`,
   * `changed(text)`, `stop()`, and `editLast()` for the arrow key in the empty box, which returns whether there is a message to edit.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.#box.enterKeyHint = hasTouchKeyboard() ? "enter" : "send";
    this.#box.addEventListener("input", () => {
      this.#resize();
      handlers.changed(this.text);
    });
    this.#box.addEventListener("keydown", (event) => this.#onKey(event));
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("stop").addEventListener("click", () => handlers.stop());
    this.#resize();
  }

  get text() {
    return this.#box.value;
  }

  set text(text) {
    this.#box.value = text;
    this.#resize();
  }

  focus() {
    this.#box.focus();
  }

  /** Show the button that stops an answer, or the one that sends. */
  showRunning(isRunning) {
    if (document.activeElement === byId(isRunning ? "send" : "stop")) this.focus(); // it is hidden now
    byId("send").hidden = isRunning;
    byId("stop").hidden = !isRunning;
    byId("thread").classList.toggle("running", isRunning);
    this.#showSendable();
  }

  /** The conversation is loaded: send the text that was submitted meanwhile, unless it has been changed. */
  sendPending() {
    const isPending = this.#pendingText !== null && this.#pendingText === this.text;
    this.#pendingText = null;
    if (isPending) this.#submit();
  }

  /** Do not send the pending text: another conversation is opened. */
  cancelPending() {
    this.#pendingText = null;
  }

  #submit() {
    const { text } = this;
    if (!text.trim()) return;
    if (this.handlers.isLoading()) this.#pendingText = text;
    if (!this.handlers.isReady()) return;
    this.text = "";
    this.handlers.send(text);
  }

  #onKey(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !hasTouchKeyboard()) {
      event.preventDefault();
      this.#submit();
    }
    if (event.key === "ArrowUp" && this.text === "" && this.handlers.editLast()) event.preventDefault();
  }

  #resize() {
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight + 2}px`;
    this.#showSendable();
  }

  #showSendable() {
    byId("send").disabled = !this.text.trim();
  }
}
