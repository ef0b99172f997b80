// Draws the elements of a list: those near the window first, the others when the browser has time.

import { enqueue } from "./markdown/work_queue.js";

const MARGIN = "1500px"; // around the window

/** Run something when the browser has time; Safari cannot tell. */
const whenIdle = (run) => (globalThis.requestIdleCallback ?? setTimeout)(run);

export class LazyDrawing {
  #waiting = new Map(); // element → how to draw it

  constructor(scroller) {
    this.observer = new IntersectionObserver((entries) => this.#onVisible(entries), { root: scroller, rootMargin: MARGIN });
  }

  /** `draw()` draws `element`, after `start`. */
  add(element, draw) {
    this.#waiting.set(element, draw);
  }

  /** Leave an element to somebody else, who draws it. */
  release(element) {
    this.#waiting.delete(element);
  }

  /** Forget the elements that are no longer in `list`. */
  keep(list) {
    for (const element of this.#waiting.keys()) if (!list.contains(element)) this.#waiting.delete(element);
  }

  /** Draw the elements in `list`, the last `numAtOnce` without delay: call this after it has been shown. */
  start(list, numAtOnce) {
    this.keep(list);
    const elements = [...this.#waiting.keys()];
    for (const element of elements.splice(-numAtOnce)) this.draw(element);
    for (const element of elements) this.observer.observe(element);
    if (elements.length) whenIdle(() => elements.reverse().forEach((element) => enqueue(() => this.draw(element))));
  }

  /** Draw an element in a list that has been started. */
  drawLater(element, draw) {
    this.add(element, draw);
    this.observer.observe(element);
    enqueue(() => this.draw(element));
  }

  /** Draw an element now, if it waits. */
  draw(element) {
    const draw = this.#waiting.get(element);
    if (!draw) return;
    this.#waiting.delete(element);
    this.observer.unobserve(element);
    draw();
  }

  #onVisible(entries) {
    for (const { isIntersecting, target } of entries) if (isIntersecting) this.draw(target);
  }
}
