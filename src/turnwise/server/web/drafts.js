// Drafts: text that is not stored on the server yet, one per conversation. They survive a reload.

import { storage } from "./storage.js";

const name = (id) => `draft.${id ?? "new"}`;

export const drafts = {
  get: (id) => storage.get(name(id)) ?? "",
  set(id, text) {
    if (text.trim()) storage.set(name(id), text);
    else storage.remove(name(id));
  },
  /** Delete the draft of a text that the server has stored. */
  discardStored(id, text) {
    for (const draftId of [id, null]) if (drafts.get(draftId).trim() === text.trim()) storage.remove(name(draftId));
  },
};
