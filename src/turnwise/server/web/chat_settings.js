// Settings of conversations: { system, model, scenario, parameters }. Those of a stored conversation are in the server, those of
// the next new conversation in this browser. A new conversation starts with the last ones.

import * as api from "./api.js";
import { storage } from "./storage.js";

const NEW = "settings.new";
const SAVE_DELAY_MS = 400; // a slider changes many times per second

const unsavedName = (id) => `settings.${id}`;
const timers = new Map(); // by id of the conversation
let saving = Promise.resolve(); // one after the other, so that the last change wins

/** Settings without any value. */
export const noSettings = () => ({ system: "", model: null, scenario: null, parameters: {} });

/** The settings of the next new conversation. */
export const newSettings = () => ({ ...noSettings(), ...storage.get(NEW) });

/** Keep the settings of the next new conversation. */
export const keepNewSettings = (settings) => storage.set(NEW, settings);

/** The settings of a stored conversation. One without any gets those of new conversations, with its own model and system prompt. */
export function conversationSettings({ id, settings, model, messages }) {
  const unsaved = storage.get(unsavedName(id));
  if (unsaved) saveSettings(id, unsaved);
  const [first] = messages;
  const known = { model, system: first?.role === "system" ? first.content : "" };
  const own = unsaved ?? settings;
  return Object.keys(own).length ? { ...noSettings(), ...known, ...own } : { ...newSettings(), ...known };
}

/** Save the settings of a stored conversation. Until the server has them, they are in this browser. */
export function saveSettings(id, settings) {
  storage.set(unsavedName(id), settings);
  clearTimeout(timers.get(id));
  timers.set(id, setTimeout(() => (saving = saving.then(() => send(id))), SAVE_DELAY_MS));
}

/** Forget unsaved settings of a conversation that was deleted. */
export function discardSettings(id) {
  clearTimeout(timers.get(id));
  storage.remove(unsavedName(id));
}

/** A failure is not shown: the settings stay in this browser, and the next request reports what is invalid in them. */
async function send(id) {
  const settings = storage.get(unsavedName(id));
  if (!settings) return;
  const isDone = await api.updateConversation(id, { settings }).then(() => true, ({ status }) => status === 404);
  const isLatest = JSON.stringify(storage.get(unsavedName(id))) === JSON.stringify(settings);
  if (isDone && isLatest) storage.remove(unsavedName(id));
}
