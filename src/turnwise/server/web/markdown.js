// Shows Markdown. The output is built from elements and text nodes; no string is parsed as HTML, so HTML in a message is
// shown as text. While a text arrives, only its last block is drawn again.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { buildTree } from "./markdown/block_tree.js";
import { drawBlocks } from "./markdown/blocks.js";
import { loadParser, parser } from "./markdown/parser.js";
import { plainText, withFewMarks } from "./markdown/plain_text.js";
import { splitReasoning } from "./markdown/reasoning.js";

const MAX_CHARS = 100_000; // what follows is shown as plain text
const MAX_LINES = 5000;
const DEFINITION = /^ {0,3}\[\^([^\]\s]{1,80})\]:/gm;

export { loadParser };

/** The Markdown in an element. */
export class MarkdownView {
  /** `element` gets the class `markdown`. Its content is replaced. */
  constructor(element) {
    this.element = element;
    this.segments = [];
    this.numDrawn = 0; // blocks whose text was drawn, since the start
    element.classList.add("markdown");
  }

  /**
   * Show `text`. Until the parser is loaded, the text is shown as it is.
   *
   * @param isStreaming more text will follow. References to links and footnotes are resolved at the end.
   * @param sources cited sources by number, see `marks.js`: [1] in the text becomes a mark that leads to its source.
   * @return a promise that is resolved when the text is drawn.
   */
  async update(text, { isStreaming = false, sources = null } = {}) {
    this.latest = { text, isStreaming, sources };
    if (!parser) {
      this.#showPlain(text);
      await loadParser().catch(() => {}); // without the parser the text stays as it is
      if (!parser || this.latest.text !== text || this.latest.isStreaming !== isStreaming) return;
    }
    this.#draw(this.latest);
  }

  #showPlain(text) {
    this.segments = [];
    this.element.classList.add("plain");
    this.element.replaceChildren(...plainText(withFewMarks(text)));
  }

  #draw({ text, isStreaming, sources }) {
    if (!this.segments.length) {
      this.element.classList.remove("plain");
      this.element.replaceChildren();
    }
    const segments = splitReasoning(withFewMarks(text.includes("\r") ? text.replaceAll(/\r\n?/g, "\n") : text), isStreaming);
    segments.forEach((segment, index) => {
      let view = this.segments[index];
      if (view?.isReasoning !== segment.isReasoning) {
        for (const old of this.segments.splice(index)) old.remove();
        view = new SegmentView(this.element, segment.isReasoning);
        this.segments.push(view);
      }
      const isLast = index === segments.length - 1;
      this.numDrawn += view.update(segment, { isStreaming: isStreaming && isLast, sources });
    });
    for (const old of this.segments.splice(segments.length)) old.remove();
  }
}

/** Reasoning or the answer itself. */
class SegmentView {
  constructor(parent, isReasoning) {
    this.isReasoning = isReasoning;
    this.parent = parent;
    this.container = parent;
    if (isReasoning) {
      this.container = make("div", { class: "reasoning-text markdown" });
      this.label = make("summary", {}, t("Reasoning"));
      this.details = make("details", { class: "reasoning" }, this.label, this.container);
      parent.append(this.details);
    } else {
      this.container = make("div", { class: "answer-text" });
      parent.append(this.container);
    }
    this.#reset();
  }

  #reset() {
    this.container.replaceChildren();
    Object.assign(this, { text: "", blocks: [], tail: [], tailStart: 0, tailLevel: 1, plainChars: 0, plain: null });
  }

  remove() {
    (this.details ?? this.container).remove();
  }

  /** Show the text of the segment and return the number of blocks that were drawn. */
  update({ text: full, isOpen }, { isStreaming, sources }) {
    if (this.details) this.#setOpen(isOpen && isStreaming);
    const text = full.slice(0, markdownEnd(full));
    const isAppended = text.startsWith(this.text);
    const notes = isStreaming ? new Map() : footnotes(text);
    const context = { parser, env: { isStreaming }, sources, notes, numDrawn: 0, isComplete: !isStreaming };
    if (!isAppended || sources?.size || notes.size) this.#reset();
    if (isStreaming) this.#drawTail(text, context);
    else this.#drawAll(text, context);
    this.#showPlain(full.slice(text.length));
    return context.numDrawn;
  }

  /** Open while the reasoning arrives, then closed; what the reader has chosen stays. */
  #setOpen(isOpen) {
    if (isOpen === this.wasOpen) return;
    this.details.open = isOpen;
    this.wasOpen = isOpen;
    this.label.textContent = isOpen ? t("Reasoning …") : t("Reasoning");
  }

  /** Draw what follows the blocks that cannot change any more. */
  #drawTail(text, context) {
    const source = text.slice(this.tailStart);
    const { blocks } = buildTree(parser.blocks(source, context.env), this.tailLevel);
    drawBlocks(this.container, this.tail, blocks, context);
    this.text = text;
    this.tail = blocks;
    this.#freeze(source, blocks);
  }

  /** Fix all blocks but the last. While the first line of the last is incomplete, it may still belong to the one before. */
  #freeze(source, blocks) {
    const starts = lineStarts(source, blocks.at(-1)?.lines?.[0] ?? 0);
    const isLineComplete = source.indexOf("\n", starts.at(-1)) >= 0;
    const numFixed = blocks.length - (isLineComplete ? 1 : 2);
    if (numFixed <= 0) return;
    const fixed = blocks.slice(0, numFixed);
    this.tailLevel = fixed.findLast(({ level }) => level)?.level ?? this.tailLevel;
    this.tailStart += starts[blocks[numFixed].lines[0]];
    this.blocks.push(...fixed);
    this.tail = blocks.slice(numFixed);
  }

  #drawAll(text, context) {
    const { blocks } = buildTree(parser.blocks(text, context.env));
    const before = [...this.blocks, ...this.tail];
    if (Object.keys(context.env.references ?? {}).length) {
      for (const block of before.splice(0)) block.element.remove(); // links of earlier blocks may have got their addresses
    }
    drawBlocks(this.container, before, blocks, context);
    Object.assign(this, { text, blocks: [], tail: blocks, tailStart: 0, tailLevel: 1 });
  }

  /** Show what is beyond the limit. The text that was there before keeps its elements. */
  #showPlain(text) {
    if (!text) return;
    this.plain ??= make("div", { class: "plain" });
    if (this.container.lastChild !== this.plain) this.container.append(this.plain);
    const last = this.plain.lastChild;
    const start = text.startsWith(this.plainStart ?? "") ? this.plainChars : 0;
    if (!start) this.plain.replaceChildren();
    else last.remove();
    const numDrawn = start ? start - last.textContent.length : 0;
    this.plain.append(...plainText(text.slice(numDrawn)));
    this.plainChars = text.length;
    this.plainStart = text.slice(0, 100);
  }
}

/** Where the text ends that is shown as Markdown. */
function markdownEnd(text) {
  let end = 0;
  for (let line = 0; line < MAX_LINES; line += 1) {
    end = text.indexOf("\n", end) + 1;
    if (!end) return Math.min(text.length, MAX_CHARS);
    if (end > MAX_CHARS) return MAX_CHARS;
  }
  return end;
}

/** Offsets of the lines 0 to `last`. */
function lineStarts(text, last) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0 && starts.length <= last; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

/** The footnotes of a text by name, with their numbers. */
function footnotes(text) {
  const notes = new Map();
  if (!text.includes("[^")) return notes;
  for (const [, name] of text.matchAll(DEFINITION)) {
    if (notes.has(name)) continue;
    const note = { number: notes.size + 1, marks: [], target: null, element: () => note.target };
    note.label = t("Footnote {number}", { number: note.number });
    notes.set(name, note);
  }
  return notes;
}
