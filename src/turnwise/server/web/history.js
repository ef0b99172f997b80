// The list of conversations: pinned ones, folders, the others by date, search.

import * as api from "./api.js";
import * as conversations from "./conversations_api.js";
import { byId, make } from "./dom.js";
import { addDragging } from "./history_drag.js";
import { groupByDate } from "./history_groups.js";
import { addListKeys, addSearchKeys, makeTabStop } from "./history_keys.js";
import { drawGroups, drawVisibleRows } from "./history_rows.js";
import { HistorySection } from "./history_section.js";
import { HistorySelection } from "./history_selection.js";
import { t } from "./i18n.js";
import { storage } from "./storage.js";

const NEAR_THE_END = 400; // pixels from the end within which older conversations are loaded
const SEARCH_DELAY_MS = 200;

export class History {
  #searchTimer = 0;
  #isLoadingMore = false;
  #frame = 0; // request for the next drawing

  /**
   * `handlers`: `open(id, messageId)`, `deleted(id)`, `renamed(id, title)`, `showTree(id)` and `failed(error, retry)`.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.available = true;
    this.current = null;
    this.folders = [];
    this.expanded = new Set(storage.get("folders") ?? []);
    this.hidden = new Set(); // ids of conversations whose deletion can be taken back
    this.sections = { pinned: new HistorySection({ pinned: true }), recent: new HistorySection({ pinned: false, folder: "" }) };
    this.search = null; // section of the found conversations
    this.selection = new HistorySelection(this);
    this.root = byId("history");
    this.root.before(this.selection.element);
    byId("history-more").addEventListener("click", () => this.#loadMore());
    byId("history-search").addEventListener("input", (event) => this.#search(event.target.value.trim()));
    byId("history-menu").addEventListener("click", () => this.#showListMenu());
    this.root.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    addListKeys(this.root, {
      rename: (entry) => this.rename(entry),
      remove: (entry) => this.#act(({ remove }) => this.hidden.has(entry.id) || remove(this, [entry])), // not twice
      menu: (entry, anchor) => this.#showMenu(entry, anchor),
      draw: () => this.#drawRows(),
    });
    addSearchKeys(byId("history-search"));
    addDragging(this, this.root);
    new ResizeObserver(() => this.#drawRows()).observe(this.root);
  }

  /** Load the first page of each part. A server without a store is not an error. */
  async load() {
    try {
      const loaded = this.search
        ? [this.search.load()]
        : [this.#loadFolders(), this.sections.pinned.load(), this.sections.recent.load()];
      await Promise.all(loaded);
      this.available = true;
    } catch (error) {
      if (error.status !== 404) throw error;
      this.available = false;
      this.folders = [];
      for (const section of Object.values(this.sections)) Object.assign(section, { entries: [], hasMore: false });
    }
    const open = this.entry(this.current);
    if (open) this.handlers.renamed(open.id, open.title);
    this.show();
  }

  async #loadFolders() {
    this.folders = await conversations.folders();
    const ids = new Set(this.folders.map(({ id }) => id));
    for (const key of Object.keys(this.sections)) if (key.startsWith("folder-") && !ids.has(key.slice(7))) delete this.sections[key];
    await Promise.all(this.folders.filter(({ id }) => this.expanded.has(id)).map(({ id }) => this.#folderSection(id).load()));
  }

  #folderSection(id) {
    return (this.sections[`folder-${id}`] ??= new HistorySection({ pinned: false, folder: id }));
  }

  /** The entry of a listed conversation. */
  entry(id) {
    return this.#allSections().flatMap(({ entries }) => entries).find((entry) => entry.id === id);
  }

  #allSections() {
    return [...Object.values(this.sections), ...(this.search ? [this.search] : [])];
  }

  /** Add a new conversation to the top of the list, without a request. */
  add(entry) {
    this.sections.recent.add(entry);
    this.show(entry.id);
  }

  // Display

  show(current = this.current) {
    this.current = current;
    const { selection } = this;
    drawGroups(this.root, this.#groups(), this.#rowState(), this.#rowHandlers);
    selection.element.hidden = !selection.isActive;
    makeTabStop(this.root);
    const recent = this.search ?? this.sections.recent;
    const isEmpty = !this.root.children.length;
    byId("history-more").hidden = !recent.hasMore;
    byId("history-more").textContent = t("Show older conversations");
    byId("history-tools").hidden = !this.available;
    const note = byId("history-note");
    note.hidden = !isEmpty;
    if (this.search) note.textContent = t("No conversation contains this text.");
    else note.textContent = this.available ? t("Your conversations will appear here.") : t("This server does not store conversations.");
  }

  #rowHandlers = {
    open: ({ id }) => this.handlers.open(id),
    jump: ({ id, match }) => this.handlers.open(id, match.message_id),
    menu: (entry, anchor) => this.#showMenu(entry, anchor),
    select: (entry, event) => this.selection.click(entry, event),
    toggleFolder: (folder) => this.#toggleFolder(folder),
    folderMenu: (folder, anchor) => this.#act(({ showMenu, folderItems }) => showMenu(anchor, folderItems(this, folder), folder.name)),
    loadMore: (key) => this.#loadMore(this.sections[key]),
  };

  #rowState() {
    return { current: this.current, selected: this.selection.ids, isSelecting: this.selection.isActive };
  }

  #drawRows() {
    drawVisibleRows(this.root, this.#rowState(), this.#rowHandlers);
    makeTabStop(this.root);
  }

  #groups() {
    const shown = ({ entries }) => (this.hidden.size ? entries.filter(({ id }) => !this.hidden.has(id)) : entries);
    if (this.search) {
      const entries = shown(this.search);
      return entries.length ? [{ key: "found", label: t("Found"), entries }] : [];
    }
    const pinned = shown(this.sections.pinned);
    const { hasMore } = this.sections.pinned;
    return [
      ...(pinned.length ? [{ key: "pinned", label: t("Pinned"), entries: pinned, hasMore }] : []),
      ...this.folders.map((folder) => {
        const section = this.sections[`folder-${folder.id}`];
        const isExpanded = this.expanded.has(folder.id);
        return {
          key: `folder-${folder.id}`, label: folder.name, folder, isExpanded, entries: section ? shown(section) : [],
          hasMore: section?.hasMore,
        };
      }),
      ...groupByDate(shown(this.sections.recent)),
    ];
  }

  /** The entries of all rows, from top to bottom. */
  shownEntries() {
    return this.#groups().filter(({ isExpanded = true }) => isExpanded).flatMap(({ entries }) => entries);
  }

  focusRow() {
    this.root.querySelector(".history-open[tabindex='0']")?.focus();
  }

  // Loading

  #onScroll() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawRows();
    });
    const { scrollHeight, scrollTop, clientHeight } = this.root;
    if (!byId("history-more").hidden && scrollHeight - scrollTop - clientHeight < NEAR_THE_END) this.#loadMore();
  }

  async #loadMore(section = this.search ?? this.sections.recent) {
    if (this.#isLoadingMore) return;
    this.#isLoadingMore = true;
    try {
      await section.loadMore();
    } catch (error) {
      this.handlers.failed(error, () => this.#loadMore(section));
    } finally {
      this.#isLoadingMore = false;
    }
    this.show();
  }

  #search(query) {
    clearTimeout(this.#searchTimer);
    this.#searchTimer = setTimeout(() => {
      this.search = query ? new HistorySection({ query }) : null;
      this.root.scrollTop = 0;
      const load = () => this.load().catch((error) => this.handlers.failed(error, load));
      load();
    }, SEARCH_DELAY_MS);
  }

  expand(id) {
    this.expanded.add(id);
    storage.set("folders", [...this.expanded]);
  }

  async #toggleFolder({ id }) {
    if (!this.expanded.delete(id)) this.expanded.add(id);
    storage.set("folders", [...this.expanded]);
    this.show();
    if (!this.expanded.has(id)) return;
    await this.#folderSection(id).load().catch((error) => this.handlers.failed(error, () => this.load()));
    this.show();
  }

  // Changes

  /** Run something with the actions, which are loaded when they are first needed. */
  async #act(run) {
    try {
      await run(await import("./history_actions.js"));
    } catch (error) {
      this.handlers.failed(error, () => this.#act(run));
    }
  }

  #showMenu(entry, anchor) {
    if (this.selection.isActive) return;
    const label = t("Actions for “{title}”", { title: entry.title || t("New chat") });
    this.#act(({ showMenu, entryItems }) => showMenu(anchor, entryItems(this, entry, anchor), label));
  }

  #showListMenu() {
    const isAutomatic = storage.get("auto_title") ?? true;
    const files = () => import("./conversation_files.js");
    const failed = (error) => this.handlers.failed(error);
    this.#act(({ showMenu, createFolder }) => showMenu(byId("history-menu"), [
      { label: t("New folder…"), run: () => createFolder(this) },
      { label: t("Select conversations"), run: () => this.startSelection() },
      null,
      { label: t("Import a file…"), run: () => files().then(({ chooseFile }) => chooseFile(this)).catch(failed) },
      { label: t("Save all as JSONL"), run: () => files().then(({ saveConversations }) => saveConversations("jsonl")).catch(failed) },
      { label: t("Save all as Markdown"), run: () => files().then(({ saveConversations }) => saveConversations("markdown")).catch(failed) },
      null,
      { label: t("The model writes titles"), isChecked: isAutomatic, run: () => storage.set("auto_title", !isAutomatic) },
    ], t("Actions for the list")));
  }

  startSelection(entry = null) {
    this.selection.start(entry);
    this.focusRow();
  }

  rename(entry) {
    const row = this.root.querySelector(`.history-row[data-id="${CSS.escape(entry.id)}"]`);
    if (!row) return;
    const box = make("input", { type: "text", value: entry.title, maxLength: 200, class: "rename", dir: "auto", "aria-label": t("Title") });
    const buttons = row.parts;
    let isDone = false;
    const finish = async (keep, returnsFocus = false) => {
      if (isDone) return;
      isDone = true;
      row.replaceChildren(...buttons);
      if (returnsFocus) buttons[0].focus();
      const title = box.value.trim();
      if (!keep || !title || title === entry.title) return;
      try {
        const { title: stored } = await api.updateConversation(entry.id, { title });
        for (const section of this.#allSections()) section.replace({ id: entry.id, title: stored });
        this.handlers.renamed(entry.id, stored);
      } catch (error) {
        this.handlers.failed(error, () => this.load());
      }
      this.show();
    };
    box.onblur = () => finish(true);
    box.onkeydown = (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      finish(event.key === "Enter", true);
    };
    row.replaceChildren(box);
    box.select();
  }

  /** Hide conversations that are being deleted. The focus moves to the next row. */
  hide(ids) {
    const rows = [...this.root.querySelectorAll(".history-row")];
    const hadFocus = this.root.contains(document.activeElement) || document.activeElement === document.body;
    const first = rows.findIndex(({ entry }) => ids.has(entry.id));
    const next = [...rows.slice(first), ...rows.slice(0, first).reverse()].find(({ entry }) => !ids.has(entry.id));
    for (const id of ids) this.hidden.add(id);
    const isOpen = ids.has(this.current);
    if (isOpen) this.handlers.deleted(this.current);
    this.show();
    if (hadFocus && !isOpen) (next?.querySelector(".history-open") ?? byId("new-chat")).focus();
  }

  /** Show them again, or forget them if they are deleted in the server. */
  unhide(ids, { isDeleted = false } = {}) {
    for (const id of ids) {
      this.hidden.delete(id);
      if (isDeleted) for (const section of this.#allSections()) section.remove(id);
    }
    this.show();
    if (!isDeleted) this.focusRow();
    else if (this.folders.length) this.#loadFolders().then(() => this.show(), () => {}); // their numbers
  }
}
