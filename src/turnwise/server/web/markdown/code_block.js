// A block of code: language, copy button, colours. While it arrives, only its last lines are coloured again.

import { copy, iconButton, make } from "../dom.js";
import { t } from "../i18n.js";
import { withVisibleControls } from "./plain_text.js";
import { enqueue } from "./work_queue.js";

const CHUNK_CHARS = 4000;
const MAX_AT_ONCE = 10_000; // longer code keeps the colours of its chunks, which may be wrong in a comment across two of them

let highlighting = null; // the module, when the first language has been loaded

/** Load the language with this label. Returns its name, or null for one without colours. */
async function loadLanguage(label) {
  const module = await import("./highlighting.js");
  const language = module.languageOf(label);
  if (language) await module.loadLanguage(language);
  highlighting = module;
  return language;
}

export class CodeBlock {
  constructor(label) {
    this.language = highlighting?.readyLanguage(label) ?? null;
    this.text = "";
    this.doneChars = 0; // characters in finished chunks
    this.numChunks = 0;
    this.code = make("code", {});
    const button = iconButton("copy", t("Copy the code"), () => copy(this.text, button));
    const head = make("div", { class: "code-head" }, make("span", { class: "code-language" }, label || t("text")), button);
    this.element = make("div", { class: "code", dir: "ltr" }, head, make("pre", { tabIndex: 0 }, this.code));
    this.#startChunk();
    if (label && !this.language) loadLanguage(label).then((language) => language && this.#recolour(language), () => {});
  }

  /** Show `text`. If it begins with the text shown, the finished chunks stay. */
  update(text, isComplete) {
    if (!text.startsWith(this.text)) this.#clear();
    this.text = text;
    let rest = text.slice(this.doneChars);
    while (rest.length > CHUNK_CHARS) {
      const end = chunkEnd(rest);
      this.#fill(rest.slice(0, end));
      this.doneChars += end;
      rest = rest.slice(end);
      this.#startChunk();
    }
    this.#fill(rest);
    const isSmall = this.numChunks > 1 && text.length <= MAX_AT_ONCE;
    if (isComplete && isSmall && this.language) enqueue(() => this.element.isConnected && this.text === text && this.#colourAtOnce());
  }

  #clear() {
    this.doneChars = 0;
    this.numChunks = 0;
    this.code.replaceChildren();
    this.#startChunk();
  }

  #startChunk() {
    this.chunk = make("span", { class: "code-chunk" });
    this.code.append(this.chunk);
    this.numChunks += 1;
  }

  #fill(text) {
    if (this.language) this.chunk.replaceChildren(...highlighting.highlight(text, this.language));
    else if (!text.startsWith(this.chunk.textContent) || this.chunk.childNodes.length !== 1) this.chunk.replaceChildren(...withVisibleControls(text));
    else this.chunk.firstChild.appendData?.(text.slice(this.chunk.textContent.length));
  }

  #colourAtOnce() {
    this.chunk = make("span", { class: "code-chunk" }, ...highlighting.highlight(this.text, this.language));
    this.code.replaceChildren(this.chunk);
    this.doneChars = 0;
    this.numChunks = 1;
  }

  /** Colour the chunks, after the language has been loaded. */
  #recolour(language) {
    this.language = language;
    if (this.text.length <= MAX_AT_ONCE) {
      enqueue(() => this.#colourAtOnce());
      return;
    }
    for (const chunk of this.code.children) {
      enqueue(() => chunk.isConnected && chunk.replaceChildren(...highlighting.highlight(chunk.textContent, this.language)));
    }
  }
}

/** Where to cut: at best after a blank line that is followed by a line without indent. */
function chunkEnd(text) {
  for (const pattern of ["\n\n", "\n"]) {
    for (let at = text.lastIndexOf(pattern, CHUNK_CHARS); at > CHUNK_CHARS / 2; at = text.lastIndexOf(pattern, at - 1)) {
      const end = at + pattern.length;
      if (pattern === "\n" || !/\s/.test(text[end] ?? " ")) return end;
    }
  }
  return CHUNK_CHARS;
}
