// The text of a block as nodes: emphasis, code, links, formulas, footnote marks and citations.

import { make } from "../dom.js";
import { t } from "../i18n.js";
import { anchor, hostNote, linkedText, safeUrl } from "./links.js";
import { formula } from "./formula.js";
import { mark } from "./marks.js";
import { plainText } from "./plain_text.js";

const MAX_CHARS = 8000; // longer texts have no markup: emphasis takes quadratic time in the worst case
const MAX_DEPTH = 16;
const ELEMENTS = { strong_open: "strong", em_open: "em", s_open: "s" };
const CITATION = /\[(\d{1,3})\]/g;

/**
 * Render the text of a block.
 *
 * @param context `parser`, `env` of markdown-it, `sources`: the cited sources by number, and `notes`: the footnotes.
 */
export function inlineNodes(text, context) {
  const root = document.createDocumentFragment();
  if (text.length > MAX_CHARS) {
    root.append(...plainText(text));
    return root;
  }
  const writer = new Writer(root, context);
  for (const token of context.parser.inlines(text, context.env)) writer.write(token);
  return root;
}

class Writer {
  constructor(root, context) {
    Object.assign(this, { context, stack: [{ element: root }] });
  }

  get top() {
    return this.stack.at(-1).element;
  }

  write(token) {
    const { type, content } = token;
    if (type === "text" || type === "text_special") this.#text(content);
    else if (type === "code_inline") this.top.append(make("code", { dir: "ltr" }, content));
    else if (type === "softbreak" || type === "hardbreak") this.top.append(make("br"));
    else if (type === "math") this.top.append(formula(content, token.meta.isDisplay));
    else if (type === "footnote_reference") this.#footnote(token);
    else if (type === "image") this.#image(token);
    else if (type === "link_open") this.#openLink(token.attrGet("href") ?? "");
    else if (type in ELEMENTS) this.#open(make(ELEMENTS[type]));
    else if (type.endsWith("_close")) this.#close();
  }

  /** Enter an element. Below the maximum depth its content is appended to the element around it. */
  #open(element, link = null) {
    const isTooDeep = this.stack.length > MAX_DEPTH;
    if (!isTooDeep) this.top.append(element);
    this.stack.push({ element: isTooDeep ? this.top : element, link });
  }

  #close() {
    if (this.stack.length === 1) return;
    const { element, link } = this.stack.pop();
    if (!link) return;
    const note = link.url ? hostNote(link.url, element.textContent) : ` (${link.address.slice(0, 200)})`;
    if (note) this.top.append(note);
  }

  get #isInLink() {
    return this.stack.some(({ link }) => link?.url);
  }

  #openLink(address) {
    const url = safeUrl(address);
    this.#open(url ? anchor(url) : make("span"), { url, address });
  }

  /** Images are not loaded, because a request tells their server who reads the answer. */
  #image(token) {
    const address = token.attrGet("src") ?? "";
    const label = t("Image: {name}", { name: token.content || t("without a description") });
    const url = this.#isInLink ? null : safeUrl(address);
    const element = url ? anchor(url) : make("span");
    element.classList.add("image-link");
    element.append(label);
    this.top.append(element);
  }

  #text(text) {
    if (this.#isInLink) {
      this.top.append(text);
      return;
    }
    const { sources } = this.context;
    let from = 0;
    if (sources?.size) {
      for (const match of text.matchAll(CITATION)) {
        const source = sources.get(Number(match[1]));
        if (!source) continue;
        this.top.append(...linkedText(text.slice(from, match.index)), mark(match[0], source));
        from = match.index + match[0].length;
      }
    }
    this.top.append(...linkedText(text.slice(from)));
  }

  #footnote(token) {
    const note = this.context.notes.get(token.meta.name);
    if (!note) {
      this.top.append(token.content);
      return;
    }
    const button = mark(`[${note.number}]`, note);
    note.marks.push(button);
    this.top.append(make("sup", {}, button));
  }
}
