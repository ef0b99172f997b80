// Text that was typed and is not stored on the server yet, one per conversation. It survives a reload.

import { memory } from "./dom.js";

const name = (id) => `draft.${id ?? "new"}`;

export const drafts = {
  get: (id) => memory.get(name(id)) ?? "",
  set(id, text) {
    if (text.trim()) memory.set(name(id), text);
    else memory.remove(name(id));
  },
  /** The server has this text: no draft of it is needed any more. */
  stored(id, text) {
    for (const each of [id, null]) if (drafts.get(each).trim() === text.trim()) memory.remove(name(each));
  },
};
