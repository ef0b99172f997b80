// What the menus of the list of conversations do: rename, pin, move, save, delete.

import * as api from "./api.js";
import * as conversations from "./conversations_api.js";
import { showDialog } from "./dialog.js";
import { byId, make } from "./dom.js";
import { drafts } from "./drafts.js";
import { t } from "./i18n.js";
import { showMenu } from "./menu.js";
import { offerUndo } from "./undo.js";

export { showMenu };

/** Items of the menu of one conversation. `list` is the `History`. */
export function entryItems(list, entry, anchor) {
  return [
    { label: t("Rename"), run: () => list.rename(entry) },
    { label: entry.pinned ? t("Unpin") : t("Pin"), run: () => setPinned(list, entry, !entry.pinned) },
    { label: t("Move to a folder…"), run: () => showFolders(list, [entry], anchor) },
    { label: t("Select"), run: () => list.startSelection(entry) },
    null,
    { label: t("Show all branches…"), run: () => list.handlers.showTree(entry.id) },
    { label: t("Save as Markdown"), run: () => save(list, "markdown", [entry]) },
    { label: t("Save as JSONL"), run: () => save(list, "jsonl", [entry]) },
    null,
    { label: t("Delete"), isDanger: true, run: () => remove(list, [entry]) },
  ];
}

async function setPinned(list, entry, pinned) {
  if (await change(list, () => regroup(list, entry.id, { pinned }))) byId("status").textContent = pinned ? t("Pinned.") : t("No longer pinned.");
}

/** Pin or move a conversation. It leaves its group at once: the list keeps older pages when it is loaded again. */
async function regroup(list, id, changes) {
  await api.updateConversation(id, changes);
  for (const section of Object.values(list.sections)) section.remove(id);
  list.search?.replace({ id, ...changes });
}

/** Show the folders to move conversations to. */
export function showFolders(list, entries, anchor) {
  const move = (folder) => moveTo(list, entries.map(({ id }) => id), folder);
  showMenu(anchor, [
    ...list.folders.map(({ id, name }) => ({ label: name, isChecked: entries.every(({ folder_id: own }) => own === id), run: () => move(id) })),
    ...(list.folders.length ? [null] : []),
    ...(entries.some(({ folder_id: own }) => own) ? [{ label: t("Take out of the folder"), run: () => move("") }] : []),
    { label: t("New folder…"), run: () => createFolder(list, move) },
  ], t("Move to a folder"));
}

/** Move conversations by their ids to a folder; "" takes them out. */
export async function moveTo(list, ids, folder) {
  const isMoved = await change(list, async () => {
    for (const id of ids) await regroup(list, id, { folder_id: folder });
  });
  if (isMoved) byId("status").textContent = t("Moved.");
}

export async function createFolder(list, use = () => {}) {
  const name = await requestName(t("Name of the new folder"), "", t("Create"));
  if (!name) return;
  await change(list, async () => {
    const folder = await conversations.createFolder(name);
    list.expand(folder.id);
    await use(folder.id);
  });
}

export function folderItems(list, folder) {
  return [
    { label: t("Rename"), run: () => renameFolder(list, folder) },
    { label: t("Save as JSONL"), run: () => saveFolder(list, folder) },
    { label: t("Delete the folder"), isDanger: true, run: () => deleteFolder(list, folder) },
  ];
}

async function renameFolder(list, folder) {
  const name = await requestName(t("New name of the folder"), folder.name, t("Rename"));
  if (name && name !== folder.name) await change(list, () => conversations.renameFolder(folder.id, name));
}

async function deleteFolder(list, folder) {
  const isConfirmed = await showDialog({
    id: "confirm", text: t("Delete the folder “{name}”? Its conversations stay in the list.", { name: folder.name }),
    cancelLabel: t("Keep it"), confirmLabel: t("Delete"), isDangerous: true,
  });
  if (!isConfirmed) return;
  if (await change(list, () => conversations.deleteFolder(folder.id))) byId("status").textContent = t("The folder is deleted.");
}

async function requestName(text, value, confirmLabel) {
  const field = make("input", { id: "folder-name", type: "text", value, required: true, maxLength: 100, dir: "auto", autocomplete: "off", "aria-label": text });
  const isConfirmed = await showDialog({ id: "folder", text, fields: [field], cancelLabel: t("Cancel"), confirmLabel });
  return isConfirmed ? field.value.trim() : "";
}

/** Delete conversations. They leave the list at once, and the server when the time to take it back is over. */
export function remove(list, entries) {
  const ids = new Set(entries.map(({ id }) => id));
  list.hide(ids);
  const text = entries.length === 1 ? t("“{title}” is deleted.", { title: entries[0].title }) : t("{count} conversations are deleted.", { count: entries.length });
  offerUndo(text, {
    undo: () => list.unhide(ids),
    commit: async (isLeaving) => {
      const results = await Promise.allSettled([...ids].map((id) => deleteStored(id, isLeaving)));
      const failed = results.find(({ status }) => status === "rejected")?.reason;
      list.unhide(ids, { isDeleted: !failed });
      if (failed) list.handlers.failed(failed, () => remove(list, entries));
    },
  });
}

/** Delete a conversation in the server, and its draft. */
async function deleteStored(id, isLeaving) {
  if (isLeaving) drafts.discard(id); // the page does not see the response
  await api.deleteConversation(id, { keepalive: isLeaving }).catch((error) => {
    if (error.status !== 404) throw error;
  });
  drafts.discard(id);
}

export async function save(list, format, entries) {
  const { saveConversations } = await import("./conversation_files.js");
  await saveConversations(format, entries).catch((error) => list.handlers.failed(error, () => save(list, format, entries)));
}

async function saveFolder(list, folder) {
  const entries = [];
  try {
    for (let after, page; !page || page.has_more; after = page.last_id) {
      page = await api.conversations({ folder: folder.id, after });
      entries.push(...page.data);
    }
  } catch (error) {
    list.handlers.failed(error, () => saveFolder(list, folder));
    return;
  }
  await save(list, "jsonl", entries);
}

/** Change something in the server, and load the list again. Returns whether both succeeded. */
async function change(list, run) {
  try {
    await run();
    await list.load();
    return true;
  } catch (error) {
    list.handlers.failed(error, () => list.load());
    return false;
  }
}
