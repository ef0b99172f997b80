// Settings of a conversation: { system, model, scenario, parameters }. A new conversation starts with those of the last one.

import { storage } from "./storage.js";

const name = (id) => `settings.${id ?? "new"}`;

/** Settings without any value. */
export const noSettings = () => ({ system: "", model: null, scenario: null, parameters: {} });

/** Keeps settings in this browser. A backend has the same functions; `id` is null for new conversations. */
const browserBackend = {
  load: async (id) => storage.get(name(id)),
  save: async (id, settings) => storage.set(name(id), settings),
  remove: async (id) => storage.remove(name(id)),
};

let backend = browserBackend;

/** Keep the settings elsewhere. */
export const useBackend = (other) => (backend = other);

/** The settings of a conversation. Without its own, those of new conversations with the values `known`. */
export async function loadSettings(id, known = {}) {
  const own = await backend.load(id);
  return { ...noSettings(), ...(own ?? { ...(await backend.load(null)), ...known }) };
}

/** Save the settings of a conversation, or those of new conversations (null). */
export const saveSettings = (id, settings) => backend.save(id, settings);

/** Delete the settings of a conversation. */
export const deleteSettings = (id) => backend.remove(id);
