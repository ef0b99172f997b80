// A safe subset of Markdown. The output is built from elements and text nodes; no string is parsed as HTML, so HTML in a
// message is shown as text.

import { copy, iconButton, make } from "./dom.js";
import { t } from "./i18n.js";

const MAX_DEPTH = 6;

// Rendering takes linear time for any text: no regular expression backtracks, and the search for a closing mark is not
// repeated for every opening mark.

const FENCE = /^[ ]{0,3}(```+|~~~+)([^`]*)$/;
const LANGUAGE = /^\s*([\w+#.-]*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s(.*)$/;
const HEADING = /^(#{1,6})\s(.*)$/;
const QUOTE = /^[ ]{0,3}>\s?/;

/** Indent, mark and text of a list item; null for another line. */
function itemOf(line) {
  const match = ITEM.exec(line);
  return match && { indent: match[1], mark: match[2], text: match[3].trimStart() };
}

/** Level and text of a heading, without closing # signs; null for another line. */
function headingOf(line) {
  const match = HEADING.exec(line);
  if (!match) return null;
  const text = match[2].trim();
  let end = text.length;
  while (end && text[end - 1] === "#") end -= 1;
  return { level: match[1].length, text: text.slice(0, end).trimEnd() };
}

/** A horizontal rule: three or more equal signs - * _, and otherwise only blanks. */
function isRule(line) {
  const marks = line.replaceAll(/\s/g, "");
  return marks.length >= 3 && "-*_".includes(marks[0]) && !line.startsWith("    ") && marks === marks[0].repeat(marks.length);
}

/** Render `text` as a document fragment. */
export function render(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...blocks(text.replaceAll("\r\n", "\n").split("\n"), 0));
  return fragment;
}

function* blocks(lines, depth) {
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    const heading = headingOf(line);
    if (!line.trim()) {
      at += 1;
    } else if (fence) {
      const end = endOfFence(lines, at + 1, fence[1]);
      yield codeBlock(lines.slice(at + 1, end).join("\n"), LANGUAGE.exec(fence[2])[1]);
      at = end + 1;
    } else if (heading) {
      yield make("h3", { class: `heading heading-${heading.level}` }, ...inline(heading.text));
      at += 1;
    } else if (isRule(line)) {
      yield make("hr");
      at += 1;
    } else if (depth < MAX_DEPTH && QUOTE.test(line)) {
      const end = endOfRun(lines, at, (l) => QUOTE.test(l));
      yield make("blockquote", {}, ...blocks(lines.slice(at, end).map((l) => l.replace(QUOTE, "")), depth + 1));
      at = end;
    } else if (depth < MAX_DEPTH && itemOf(line)) {
      const end = endOfList(lines, at);
      yield list(lines.slice(at, end), depth);
      at = end;
    } else {
      const end = Math.max(at + 1, endOfRun(lines, at, (l) => l.trim() && !startsBlock(l, depth)));
      yield make("p", {}, ...withBreaks(lines.slice(at, end).join("\n")));
      at = end;
    }
  }
}

/** A list continues with items of its kind, indented lines, and blank lines between them. */
function endOfList(lines, from) {
  const { indent, mark } = itemOf(lines[from]);
  const continuesList = (line) => {
    const item = itemOf(line);
    if (!item) return /^\s{2}/.test(line) && line.trim() !== "";
    return item.indent.length > indent.length + 1 || /\d/.test(item.mark) === /\d/.test(mark);
  };
  return endOfRun(lines, from, (line, i) => continuesList(line) || (!line.trim() && i + 1 < lines.length && continuesList(lines[i + 1])));
}

const startsBlock = (line, depth) =>
  FENCE.test(line) || headingOf(line) || isRule(line) || (depth < MAX_DEPTH && (QUOTE.test(line) || itemOf(line)));

function endOfRun(lines, from, holds) {
  let end = from;
  while (end < lines.length && holds(lines[end], end)) end += 1;
  return end;
}

/** Index of the line that closes a fence. An open fence, as during streaming, ends with the text. */
function endOfFence(lines, from, fence) {
  let end = from;
  while (end < lines.length && !(lines[end].trim().startsWith(fence) && lines[end].trim().length === fence.length)) end += 1;
  return end;
}

function codeBlock(code, language) {
  const button = iconButton("copy", t("Copy the code"), () => copy(code, button));
  const head = make("div", { class: "code-head" }, make("span", {}, language || "text"), button);
  return make("div", { class: "code" }, head, make("pre", { tabIndex: 0 }, make("code", {}, code)));
}

function list(lines, depth) {
  const { indent, mark } = itemOf(lines[0]);
  const ordered = /\d/.test(mark);
  const element = make(ordered ? "ol" : "ul");
  if (ordered) element.start = Number.parseInt(mark, 10);
  let item = [];
  const flush = () => {
    if (item.length) element.append(listItem(item, depth));
  };
  for (const line of lines) {
    const next = itemOf(line);
    if (next && next.indent.length <= indent.length + 1) {
      flush();
      item = [next.text];
    } else {
      item.push(line.slice(Math.min(line.length - line.trimStart().length, indent.length + mark.length + 1)));
    }
  }
  flush();
  return element;
}

function listItem(lines, depth) {
  const children = [...blocks(lines, depth + 1)];
  if (children[0]?.tagName === "P") children.splice(0, 1, ...children[0].childNodes); // a tight list has no paragraphs
  return make("li", {}, ...children);
}

function withBreaks(text) {
  return inline(text).flatMap((node) => {
    if (node.nodeType !== Node.TEXT_NODE) return [node];
    return node.data.split("\n").flatMap((line, i) => (i ? [make("br"), line] : [line]));
  });
}

/** Render emphasis, code and links of a paragraph as nodes. */
export function inline(text, depth = 0) {
  if (depth > MAX_DEPTH) return [document.createTextNode(text)];
  const nodes = [];
  const marks = new Marks(text);
  let plainFrom = 0;
  for (let at = marks.next(0); at < text.length; ) {
    const span = marks.spanAt(at);
    if (!span) {
      at = marks.next(at + marks.runLength(at));
      continue;
    }
    if (at > plainFrom) nodes.push(document.createTextNode(text.slice(plainFrom, at)));
    nodes.push(...(element(span, depth + 1) ?? [document.createTextNode(text.slice(at, span.end))]));
    plainFrom = span.end;
    at = marks.next(span.end);
  }
  if (plainFrom < text.length) nodes.push(document.createTextNode(text.slice(plainFrom)));
  return nodes;
}

const STARTS = /[`*_[]|https?:\/\//g;
const ADDRESS = /https?:\/\/[^\s<>()"'`]{1,2000}/y;
const TARGET = /\(([^()\s]{1,2000})\)/y;
const WORD = /\w/;

/** Finds the spans of a text. Every kind of closing mark is searched once, from left to right. */
class Marks {
  constructor(text) {
    this.text = text;
    this.unclosedFrom = new Map(); // by mark: position after which it does not occur
  }

  /** The next position where a span can start. */
  next(from) {
    STARTS.lastIndex = from;
    return STARTS.exec(this.text)?.index ?? this.text.length;
  }

  runLength(at) {
    let end = at + 1;
    while ("`*_".includes(this.text[at]) && this.text[end] === this.text[at]) end += 1;
    return end - at;
  }

  /** Kind, content and end of the span that starts here, or null. */
  spanAt(at) {
    const sign = this.text[at];
    if (sign === "`") return this.#code(at);
    if (sign === "[") return this.#link(at);
    if (sign === "h") return this.#address(at);
    return this.#emphasis(at);
  }

  #code(at) {
    const length = this.runLength(at);
    const end = this.#close("`", length, at + length);
    return end < 0 ? null : { kind: "code", content: this.text.slice(at + length, end), end: end + length };
  }

  #emphasis(at) {
    const sign = this.text[at];
    const length = this.runLength(at);
    const inWord = sign === "_" && at > 0 && WORD.test(this.text[at - 1]);
    if (length > 2 || inWord || /\s/.test(this.text[at + length] ?? " ")) return null;
    const end = this.#close(sign, length, at + length);
    if (end < 0) return null;
    return { kind: length === 2 ? "strong" : "em", content: this.text.slice(at + length, end), end: end + length };
  }

  /** Position at or after `from` of a closing run of exactly `length` signs, or -1. */
  #close(sign, length, from) {
    const mark = sign.repeat(length);
    if (from >= (this.unclosedFrom.get(mark) ?? Infinity)) return -1;
    for (let end = this.text.indexOf(mark, from); end >= 0; end = this.text.indexOf(mark, end)) {
      const run = this.runLength(end);
      const content = sign === "`" || !/\s/.test(this.text[end - 1]);
      const atWordEnd = sign !== "_" || !WORD.test(this.text[end + run] ?? " ");
      if (run === length && end > from && content && atWordEnd) return end;
      end += run;
    }
    this.unclosedFrom.set(mark, from);
    return -1;
  }

  #link(at) {
    const end = this.#labelEnd(at + 1);
    if (end < 0) return null;
    TARGET.lastIndex = end + 1;
    const target = TARGET.exec(this.text);
    if (!target || end === at + 1) return null;
    return { kind: "link", content: this.text.slice(at + 1, end), target: target[1], end: TARGET.lastIndex };
  }

  #labelEnd(from) {
    for (let end = from; end < this.text.length && end - from <= 500; end += 1) {
      if (this.text[end] === "]") return end;
      if (this.text[end] === "\n") return -1;
    }
    return -1;
  }

  #address(at) {
    ADDRESS.lastIndex = at;
    let address = ADDRESS.exec(this.text)?.[0] ?? "";
    while (address && ".,;:!?*_".includes(address.at(-1))) address = address.slice(0, -1);
    return address.length > "https://".length - 1 ? { kind: "address", content: address, end: at + address.length } : null;
  }
}

/** Render a span as nodes; null if its source is to be shown. */
function element({ kind, content, target }, depth) {
  if (kind === "code") return [make("code", {}, content)];
  if (kind === "strong" || kind === "em") return [make(kind, {}, ...inline(content, depth))];
  const anchor = kind === "address" ? link(content, [content]) : link(target, inline(content, depth));
  return anchor && [anchor];
}

/** A link that opens in a new tab; null for URLs other than http, https and mailto (such as javascript: and data:). */
function link(target, children) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return null;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}
