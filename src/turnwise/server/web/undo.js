// A message about a change that can be taken back for some seconds.

import { byId, make } from "./dom.js";
import { t } from "./i18n.js";

const SECONDS = 10;

let current = null; // { undo, commit, element }

/**
 * Show a message with the button "Undo". `commit` makes the change final: after some seconds, at the next change, or when
 * the page goes away. The time stops while the pointer or the focus is on the message.
 *
 * @param text what was changed.
 * @param undo takes the change back.
 * @param commit makes it final; `isLeaving` is true if the page goes away.
 */
export function offerUndo(text, { undo, commit }) {
  finish();
  const button = make("button", { type: "button", class: "quiet-button", onclick: takeBack }, t("Undo"));
  const element = make("div", { class: "undo", role: "region", "aria-label": text }, make("span", { dir: "auto" }, text), button);
  const entry = { undo, commit, element, timer: 0 };
  const start = () => (entry.timer = setTimeout(() => finish(entry), SECONDS * 1000));
  const hold = () => clearTimeout(entry.timer);
  for (const [name, listener] of [["pointerenter", hold], ["focusin", hold], ["pointerleave", start], ["focusout", start]]) {
    element.addEventListener(name, () => {
      clearTimeout(entry.timer);
      listener();
    });
  }
  current = entry;
  document.body.append(element);
  byId("status").textContent = t("{text} Control Z takes it back.", { text });
  start();
}

/** Make the pending change final, if there is one. */
export function finish(entry = current, isLeaving = false) {
  if (!entry || entry !== current) return;
  current = null;
  clearTimeout(entry.timer);
  entry.element.remove();
  entry.commit(isLeaving);
}

function takeBack() {
  if (!current) return;
  const entry = current;
  current = null;
  clearTimeout(entry.timer);
  entry.element.remove();
  entry.undo();
}

addEventListener("pagehide", () => finish(current, true));
document.addEventListener("keydown", (event) => {
  const box = event.target.closest?.("input, textarea, [contenteditable]");
  const isText = box && (box.value ?? box.textContent) !== ""; // its own changes are undone
  if (!current || isText || event.key.toLowerCase() !== "z" || event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  takeBack();
});
