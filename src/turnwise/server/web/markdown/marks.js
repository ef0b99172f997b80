// Marks such as [1] that lead to a source or a footnote. They are buttons: the fragment of the page's address is a conversation.

import { make } from "../dom.js";

/** A mark that moves to `target`: `label` for screen readers, and `element()`, which takes the focus. */
export function mark(text, target) {
  return make("button", { type: "button", class: "mark", "aria-label": target.label, title: target.label, onclick: () => jumpTo(target.element()) }, text);
}

/** Show an element and move the focus to it. */
export function jumpTo(element) {
  if (!element) return;
  const folded = element.closest("details:not([open])");
  if (folded) folded.open = true;
  element.scrollIntoView({ block: "nearest" });
  element.focus({ preventScroll: true });
}
