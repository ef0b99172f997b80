// Draws the Markdown of messages: those near the window first, the others when the browser has time. Until then a message
// shows its source, so that searching in the page finds it.

import { make } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { plainText, withFewMarks } from "./markdown/plain_text.js";
import { enqueue } from "./markdown/work_queue.js";

const NUM_AT_ONCE = 12; // messages at the end, which are drawn without delay
const MARGIN = "1500px"; // around the window

/** Run something when the browser has time; Safari cannot tell. */
const whenIdle = (run) => (globalThis.requestIdleCallback ?? setTimeout)(run);

export class BodyDrawing {
  #waiting = new Map(); // element → how to draw it

  constructor(scroller) {
    this.observer = new IntersectionObserver((entries) => this.#onVisible(entries), { root: scroller, rootMargin: MARGIN });
  }

  /** An element that shows `text`, later as Markdown. */
  body(text, sources) {
    const element = make("div", { class: "body markdown plain", dir: "auto" }, ...plainText(withFewMarks(text)));
    this.#waiting.set(element, { text, sources });
    return element;
  }

  /** Leave a body to somebody else, who draws it. */
  release(element) {
    this.#waiting.delete(element);
  }

  /** Draw the bodies in `list`: call this after it has been shown. */
  start(list) {
    const bodies = [...this.#waiting.keys()];
    for (const element of bodies.splice(-NUM_AT_ONCE)) this.#draw(element);
    for (const element of this.#waiting.keys()) {
      if (!list.contains(element)) this.#waiting.delete(element);
    }
    for (const element of bodies) this.observer.observe(element);
    if (bodies.length) whenIdle(() => bodies.reverse().forEach((element) => enqueue(() => this.#draw(element))));
  }

  #onVisible(entries) {
    for (const { isIntersecting, target } of entries) if (isIntersecting) this.#draw(target);
  }

  #draw(element) {
    const content = this.#waiting.get(element);
    if (!content) return;
    this.#waiting.delete(element);
    this.observer.unobserve(element);
    new MarkdownView(element).update(content.text, { sources: content.sources });
  }
}
