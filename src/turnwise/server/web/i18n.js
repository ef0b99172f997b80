// Texts in the reader's language. The key of a translation is the English text.

import { storage } from "./storage.js";

/** Languages by code, each named in itself. Their codes are in `data-languages` of the layout. */
export const LANGUAGES = { en: "English", zh: "中文" };

const ATTRIBUTES = ["aria-label", "title", "placeholder"];
const root = document.documentElement;

export const language = root.lang in LANGUAGES ? root.lang : "en"; // language.js has set it
const texts = { __proto__: null, ...(language !== "en" && (await import(`./texts_${language}.js`)).default) }; // a text may be "constructor"

/** The translation of an English text; `{name}` in it is replaced by the value `name`. */
export function t(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Keep the language for all pages, and load the page again. */
export function setLanguage(code) {
  storage.set("language", code);
  location.reload();
}

/** Replace the texts of the template. It runs before any text of a person or a model is on the page. */
function translateTemplate() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.nodeValue.trim().replace(/\s+/g, " ");
    if (text in texts) node.nodeValue = node.nodeValue.replace(/\S[^]*\S|\S/, () => texts[text]);
  }
  for (const name of ATTRIBUTES) {
    for (const element of document.querySelectorAll(`[${name}]`)) element.setAttribute(name, t(element.getAttribute(name)));
  }
  document.title = document.title.split(" – ").map((part) => t(part)).join(" – ");
}

if (language !== "en") translateTemplate();
root.classList.remove("translating");
