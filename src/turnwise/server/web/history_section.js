// A part of the list of conversations that is loaded page by page: pinned ones, a folder, the others, or found ones.

import * as api from "./api.js";

export class HistorySection {
  #loading = 0;

  /** `filter`: see `api.conversations`. */
  constructor(filter) {
    Object.assign(this, { filter, entries: [], hasMore: false, isLoaded: false });
  }

  /** Load the first page. Pages that are already loaded stay. Returns false if a later call has replaced this one. */
  async load() {
    const loading = ++this.#loading;
    const page = await api.conversations(this.filter);
    if (loading !== this.#loading) return false;
    const fresh = new Map(page.data.map((entry) => [entry.id, entry]));
    const last = page.data.at(-1);
    const older = page.has_more ? this.entries.filter(({ id, updated }) => !fresh.has(id) && updated <= last.updated) : [];
    this.hasMore = older.length ? this.hasMore : page.has_more;
    this.entries = [...page.data, ...older];
    this.isLoaded = true;
    return true;
  }

  /** Load older conversations. A page may have no new ones, if they have moved to the top meanwhile. */
  async loadMore() {
    const loading = ++this.#loading;
    let after = this.entries.at(-1)?.id;
    for (let added = 0; !added && this.hasMore; ) {
      const page = await api.conversations({ ...this.filter, after });
      if (loading !== this.#loading) return;
      const shown = new Set(this.entries.map(({ id }) => id));
      const fresh = page.data.filter(({ id }) => !shown.has(id));
      this.entries = [...this.entries, ...fresh];
      this.hasMore = page.has_more;
      added = fresh.length;
      after = page.last_id;
    }
  }

  add(entry) {
    this.entries = [entry, ...this.entries.filter(({ id }) => id !== entry.id)];
  }

  remove(id) {
    this.entries = this.entries.filter((entry) => entry.id !== id);
  }

  replace(entry) {
    this.entries = this.entries.map((listed) => (listed.id === entry.id ? { ...listed, ...entry } : listed));
  }
}
