// A message that is being streamed. The page is updated at most once per frame.

import { MarkdownView } from "./markdown.js";
import { sourceList, toSources } from "./sources.js";

const MAX_SHARE = 0.3; // of the time is spent on drawing

export class StreamingMessage {
  constructor(thread, message, entry) {
    Object.assign(this, { thread, message, entry, frame: 0, timer: 0, earliest: 0 });
    this.body = entry.querySelector(".body");
    this.view = new MarkdownView(this.body);
    if (message.role === "assistant") {
      entry.classList.add("growing");
      this.body.setAttribute("aria-live", "polite");
      this.body.setAttribute("aria-busy", "true"); // announced when it is complete, not word by word
    }
  }

  /** Begin again: what came before comes again. */
  restart(content = "") {
    this.message.content = content;
  }

  append(text) {
    this.message.content += text;
    if (this.frame || this.timer) return;
    const wait = this.earliest - performance.now();
    if (wait > 0) this.timer = setTimeout(() => this.#requestFrame(), wait);
    else this.#requestFrame();
  }

  /** The message is complete: `figures` is shown below it, `note` above it, and the sources of `message.citations`. */
  finish(figures, note) {
    Object.assign(this.message, { figures, note });
    const sources = toSources(this.message.citations);
    this.entry.querySelector(".sources").replaceWith(sourceList(sources));
    this.#paint({ isStreaming: false, sources });
    const line = this.entry.querySelector(".note");
    line.textContent = note;
    line.hidden = !note;
    this.entry.querySelector(".figures").textContent = figures;
    this.entry.classList.remove("growing");
    this.body.setAttribute("aria-busy", "false");
    this.thread.settle();
  }

  remove() {
    this.#cancel();
    this.entry.remove();
  }

  #requestFrame() {
    this.timer = 0;
    this.frame = requestAnimationFrame(() => this.#paint({ isStreaming: true }));
  }

  #cancel() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.frame = 0;
    this.timer = 0;
  }

  #paint(options) {
    this.#cancel();
    const start = performance.now();
    this.view.update(this.message.content, options);
    const end = performance.now();
    this.earliest = end + (end - start) * (1 / MAX_SHARE - 1);
    this.thread.settle();
  }
}
