// Texts in the reader's language. The key of a translation is the English text.

import { storage } from "./storage.js";

/** Languages by code, each named in itself. */
export const LANGUAGES = { en: "English", zh: "中文" };

const preferred = storage.get("language") ?? navigator.language.slice(0, 2);
export const language = preferred in LANGUAGES ? preferred : "en";
const texts = language === "en" ? {} : (await import(`./texts_${language}.js`)).default;

/** The translation of an English text; `{name}` in it is replaced by the value `name`. */
export function t(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
