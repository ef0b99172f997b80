// Several selected conversations, and the bar with what can be done with them.

import { make } from "./dom.js";
import { remove, save, showFolders } from "./history_actions.js";
import { t } from "./i18n.js";

export class HistorySelection {
  /** `list` is the `History`. */
  constructor(list) {
    this.list = list;
    this.ids = new Set();
    this.isActive = false;
    this.last = null; // id, for a range
    this.count = make("span", { class: "selection-count", role: "status" });
    const button = (label, onclick) => make("button", { type: "button", class: "quiet-button", onclick }, label);
    this.move = button(t("Move"), () => showFolders(list, this.#entries(), this.move));
    this.move.setAttribute("aria-haspopup", "menu");
    this.buttons = [
      this.move,
      button(t("Save"), () => save(list, "jsonl", this.#entries())),
      button(t("Delete"), () => this.#remove()),
    ];
    this.element = make("div", { class: "selection-bar", role: "group", "aria-label": t("Selected conversations"), hidden: true },
      this.count, ...this.buttons, button(t("Done"), () => this.stop()));
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  start(entry = null) {
    this.isActive = true;
    if (entry) this.#toggle(entry.id);
    this.show();
  }

  stop() {
    this.isActive = false;
    this.ids.clear();
    this.list.show();
    this.list.focusRow();
  }

  /** Select by a click or Enter: returns whether the click was for the selection. */
  click(entry, event) {
    const starts = event.ctrlKey || event.metaKey || event.shiftKey;
    if (!this.isActive && !starts) return false;
    this.isActive = true;
    if (event.shiftKey && this.last) this.#addRange(entry.id);
    else this.#toggle(entry.id);
    this.show();
    return true;
  }

  /** Escape ends the selection. */
  escape() {
    if (!this.isActive) return false;
    this.stop();
    return true;
  }

  show() {
    this.list.show();
    this.element.hidden = !this.isActive;
    this.count.textContent = t("{count} selected", { count: this.ids.size });
    for (const button of this.buttons) button.disabled = !this.ids.size;
  }

  #toggle(id) {
    if (!this.ids.delete(id)) this.ids.add(id);
    this.last = id;
  }

  #addRange(id) {
    const ids = this.list.shownEntries().map((entry) => entry.id);
    const [first, last] = [ids.indexOf(this.last), ids.indexOf(id)].sort((a, b) => a - b);
    for (const listed of ids.slice(Math.max(0, first), last + 1)) this.ids.add(listed);
  }

  #entries() {
    return this.list.shownEntries().filter(({ id }) => this.ids.has(id));
  }

  #remove() {
    const entries = this.#entries();
    this.stop();
    remove(this.list, entries);
  }

  #onKey(event) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    this.stop();
  }
}
