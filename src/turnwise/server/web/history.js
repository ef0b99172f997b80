// The list of conversations: open, rename, delete.

import * as api from "./api.js";
import { showDialog } from "./dialog.js";
import { byId, iconButton, make } from "./dom.js";
import { t } from "./i18n.js";

export class History {
  /** `handlers`: `open(id)`, `deleted(id)`, `renamed(id, title)`, `failed(error, retry)`. */
  constructor(handlers) {
    this.handlers = handlers;
    this.available = true;
    this.current = null;
    this.entries = [];
    this.hasMore = false;
    this.query = "";
    this.loading = 0;
    byId("history-more").addEventListener("click", () => this.#loadMore());
    byId("history-search").addEventListener("input", (event) => this.#search(event.target.value.trim()));
    byId("sidebar").addEventListener("scroll", () => this.#onScroll(), { passive: true, capture: true });
  }

  /** Load the first page of the list. A server without a store is not an error. */
  async load() {
    const loading = ++this.loading;
    try {
      const page = await api.conversations({ query: this.query });
      if (loading !== this.loading) return;
      this.available = true;
      // Pages that are already loaded stay in the list.
      const fresh = new Set(page.data.map(({ id }) => id));
      const older = page.has_more ? this.entries.filter(({ id, matchedQuery }) => !fresh.has(id) && matchedQuery === this.query) : [];
      this.hasMore = older.length ? this.hasMore : page.has_more;
      this.entries = [...page.data.map((entry) => ({ ...entry, matchedQuery: this.query })), ...older];
    } catch (error) {
      if (error.status !== 404) throw error;
      this.available = false;
      this.entries = [];
      this.hasMore = false;
    }
    this.show();
  }

  /** Add a new conversation to the top of the list, without a request. */
  add(entry) {
    this.entries = [{ ...entry, matchedQuery: this.query }, ...this.entries.filter(({ id }) => id !== entry.id)];
    this.show(entry.id);
  }

  /** Load older conversations. A page may have no new ones, if they have moved to the top meanwhile. */
  async #loadMore() {
    const loading = ++this.loading;
    byId("history-more").disabled = true;
    try {
      let after = this.entries.at(-1)?.id;
      for (let added = 0; !added && this.hasMore; ) {
        const page = await api.conversations({ after, query: this.query });
        if (loading !== this.loading) return;
        const shown = new Set(this.entries.map(({ id }) => id));
        const fresh = page.data.filter(({ id }) => !shown.has(id));
        this.entries.push(...fresh.map((entry) => ({ ...entry, matchedQuery: this.query })));
        this.hasMore = page.has_more;
        added = fresh.length;
        after = page.last_id;
      }
    } catch (error) {
      this.handlers.failed(error, () => this.#loadMore());
    } finally {
      byId("history-more").disabled = false;
    }
    this.show();
  }

  #onScroll() {
    const more = byId("history-more");
    if (more.hidden || more.disabled) return;
    const list = byId("history");
    if (list.scrollHeight - list.scrollTop - list.clientHeight < 200) this.#loadMore();
  }

  #search(query) {
    this.query = query;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load().catch((error) => this.handlers.failed(error, () => this.load())), 200);
  }

  show(current = this.current) {
    this.current = current;
    byId("history").replaceChildren(...this.entries.map((entry) => this.#row(entry)));
    byId("history-more").hidden = !this.hasMore;
    byId("history-search").hidden = !this.available || (!this.entries.length && !this.query);
    const note = byId("history-note");
    note.hidden = this.entries.length > 0;
    if (this.query) note.textContent = t("No conversation contains this text.");
    else note.textContent = this.available ? t("Your conversations will appear here.") : t("This server does not store conversations.");
  }

  #row(entry) {
    const open = make("button", { type: "button", class: "history-open", dir: "auto", title: entry.title }, entry.title);
    open.onclick = () => this.handlers.open(entry.id);
    const row = make(
      "li",
      { class: "history-row" },
      open,
      iconButton("edit", t("Rename “{title}”", entry), () => this.#rename(row, entry)),
      iconButton("trash", t("Delete “{title}”", entry), () => this.#delete(entry)),
    );
    if (entry.id === this.current) {
      row.classList.add("current");
      open.setAttribute("aria-current", "true");
    }
    return row;
  }

  #rename(row, entry) {
    const box = make("input", { type: "text", dir: "auto", value: entry.title, maxLength: 200, class: "rename", "aria-label": t("Title") });
    let done = false;
    const finish = async (keep) => {
      if (done) return;
      done = true;
      const title = box.value.trim();
      if (keep && title && title !== entry.title) {
        try {
          entry.title = (await api.rename(entry.id, title)).title;
          this.handlers.renamed(entry.id, entry.title);
        } catch (error) {
          this.handlers.failed(error, () => this.load());
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
    const isConfirmed = await showDialog({
      id: "confirm", text: t("Delete “{title}”? This cannot be undone.", entry), cancelLabel: t("Keep it"),
      confirmLabel: t("Delete"), isDangerous: true,
    });
    if (!isConfirmed) return;
    try {
      await api.deleteConversation(entry.id);
    } catch (error) {
      if (error.status !== 404) return this.handlers.failed(error, () => this.load());
    }
    this.entries = this.entries.filter((listed) => listed.id !== entry.id);
    this.show();
    byId("new-chat").focus(); // the focused button is deleted too
    byId("status").textContent = t("Deleted.");
    this.handlers.deleted(entry.id);
  }
}
