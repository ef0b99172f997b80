// The list of conversations: open, rename, delete.

import * as api from "./api.js";
import { byId, iconButton, make } from "./dom.js";

export class History {
  /** `on` says what happens: `open(id)`, `gone(id)`, `renamed(id, title)`, `failed(error, again)`. */
  constructor(on) {
    this.on = on;
    this.available = true;
    this.current = null;
    this.entries = [];
  }

  /** Ask the server again. A server that keeps nothing is a fact, not a failure. */
  async load() {
    try {
      this.entries = await api.conversations();
      this.available = true;
    } catch (error) {
      if (error.status !== 404) throw error;
      this.available = false;
      this.entries = [];
    }
    this.show();
  }

  show(current = this.current) {
    this.current = current;
    byId("history").replaceChildren(...this.entries.map((entry) => this.#row(entry)));
    const note = byId("history-note");
    note.hidden = this.entries.length > 0;
    note.textContent = this.available ? "Your conversations will appear here." : "This server keeps no conversations.";
  }

  #row(entry) {
    const open = make("button", { type: "button", class: "history-open", title: entry.title }, entry.title);
    open.onclick = () => this.on.open(entry.id);
    const row = make(
      "li",
      { class: "history-row" },
      open,
      iconButton("edit", `Rename “${entry.title}”`, () => this.#rename(row, entry)),
      iconButton("trash", `Delete “${entry.title}”`, () => this.#delete(entry)),
    );
    if (entry.id === this.current) {
      row.classList.add("current");
      open.setAttribute("aria-current", "true");
    }
    return row;
  }

  #rename(row, entry) {
    const box = make("input", { type: "text", value: entry.title, maxLength: 200, class: "rename", "aria-label": "Title" });
    let done = false;
    const finish = async (keep) => {
      if (done) return;
      done = true;
      const title = box.value.trim();
      if (keep && title && title !== entry.title) {
        try {
          entry.title = (await api.rename(entry.id, title)).title;
          this.on.renamed(entry.id, entry.title);
        } catch (error) {
          this.on.failed(error, () => this.load());
        }
      }
      this.show();
    };
    box.onblur = () => finish(true);
    box.onkeydown = (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      finish(event.key === "Enter");
    };
    row.replaceChildren(box);
    box.select();
  }

  async #delete(entry) {
    const dialog = byId("confirm");
    byId("confirm-text").textContent = `Delete “${entry.title}”? It cannot be brought back.`;
    dialog.returnValue = "no";
    dialog.showModal();
    await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
    if (dialog.returnValue !== "yes") return;
    try {
      await api.forget(entry.id);
    } catch (error) {
      if (error.status !== 404) return this.on.failed(error, () => this.load());
    }
    this.entries = this.entries.filter((other) => other.id !== entry.id);
    this.show();
    byId("status").textContent = "Deleted.";
    this.on.gone(entry.id);
  }
}
