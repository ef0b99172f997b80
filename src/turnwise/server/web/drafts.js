// Drafts: text that is not stored on the server yet, one per conversation. They survive a reload and a closed tab.

import { storage, tabStorage } from "./storage.js";

const name = (id) => `draft.${id ?? "new"}`;

export const drafts = {
  /** The draft of this tab, else that of the browser: two tabs may write to the same conversation. */
  get: (id) => tabStorage.get(name(id)) ?? storage.get(name(id)) ?? "",
  set(id, text) {
    const before = tabStorage.get(name(id));
    if (text.trim()) {
      tabStorage.set(name(id), text);
      storage.set(name(id), text);
      return;
    }
    tabStorage.set(name(id), ""); // not the draft of another tab
    if (storage.get(name(id)) === before) storage.remove(name(id));
  },
  /** Delete the draft of a conversation that is deleted. */
  discard(id) {
    tabStorage.remove(name(id));
    storage.remove(name(id));
  },
  /** Delete the draft of a text that the server has stored. */
  discardStored(id, text) {
    for (const draftId of [id, null]) {
      if ((tabStorage.get(name(draftId)) ?? "").trim() === text.trim()) tabStorage.set(name(draftId), "");
      if ((storage.get(name(draftId)) ?? "").trim() === text.trim()) storage.remove(name(draftId));
    }
  },
};
