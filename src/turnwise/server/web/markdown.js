// A small, safe subset of Markdown. Everything is built from elements and text nodes: no string ever becomes markup,
// so hostile content stays text.

import { copy, iconButton, make } from "./dom.js";

const MOST_NESTED = 6;
const MOST_INLINE = 20_000; // characters of one paragraph that are searched for emphasis; longer ones stay plain

const FENCE = /^\s{0,3}(```+|~~~+)\s*([\w+#.-]*)[^`]*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^\s{0,3}>\s?/;

const INLINE = new RegExp(
  [
    /(?<ticks>`+)(?<code>[^`]|[^`][\s\S]*?[^`])\k<ticks>(?!`)/,
    /(?<strong>\*\*|__)(?=\S)(?<bold>[\s\S]*?\S)\k<strong>/,
    /\*(?=[^\s*])(?<star>[^*]*[^\s*])\*/,
    /(?<!\w)_(?=[^\s_])(?<underline>[^_]*[^\s_])_(?!\w)/,
    /\[(?<label>[^\]\n]{1,500})\]\((?<target>[^()\s]{1,2000})\)/,
    /(?<address>https?:\/\/[^\s<>()"'`]*[^\s<>()"'`.,;:!?*_])/,
  ]
    .map((part) => part.source)
    .join("|"),
);

/** The blocks of `text` as a fragment. */
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
    const heading = HEADING.exec(line);
    if (!line.trim()) {
      at += 1;
    } else if (fence) {
      const end = closing(lines, at + 1, fence[1]);
      yield codeBlock(lines.slice(at + 1, end).join("\n"), fence[2]);
      at = end + 1;
    } else if (heading) {
      yield make("h3", { class: `heading heading-${heading[1].length}` }, ...inline(heading[2]));
      at += 1;
    } else if (RULE.test(line)) {
      yield make("hr");
      at += 1;
    } else if (depth < MOST_NESTED && QUOTE.test(line)) {
      const end = while_(lines, at, (l) => QUOTE.test(l));
      yield make("blockquote", {}, ...blocks(lines.slice(at, end).map((l) => l.replace(QUOTE, "")), depth + 1));
      at = end;
    } else if (depth < MOST_NESTED && ITEM.test(line)) {
      const end = endOfList(lines, at);
      yield list(lines.slice(at, end), depth);
      at = end;
    } else {
      const end = Math.max(at + 1, while_(lines, at, (l) => l.trim() && !startsBlock(l, depth)));
      yield make("p", {}, ...withBreaks(lines.slice(at, end).join("\n")));
      at = end;
    }
  }
}

/** A list goes on with items of its kind, with anything indented, and over blank lines between those. */
function endOfList(lines, from) {
  const [, indent, mark] = ITEM.exec(lines[from]);
  const goesOn = (line) => {
    const item = ITEM.exec(line);
    if (!item) return /^\s{2,}\S/.test(line);
    return item[1].length > indent.length + 1 || /\d/.test(item[2]) === /\d/.test(mark);
  };
  return while_(lines, from, (line, i) => goesOn(line) || (!line.trim() && i + 1 < lines.length && goesOn(lines[i + 1])));
}

const startsBlock = (line, depth) =>
  FENCE.test(line) || HEADING.test(line) || RULE.test(line) || (depth < MOST_NESTED && (QUOTE.test(line) || ITEM.test(line)));

function while_(lines, from, holds) {
  let end = from;
  while (end < lines.length && holds(lines[end], end)) end += 1;
  return end;
}

/** Where a fence ends; an open one, as while it streams in, ends with the text. */
function closing(lines, from, fence) {
  const end = lines.findIndex((line, i) => i >= from && line.trim().startsWith(fence) && !line.trim().slice(fence.length));
  return end < 0 ? lines.length : end;
}

function codeBlock(code, language) {
  const button = iconButton("copy", "Copy the code", () => copy(code, button));
  const head = make("div", { class: "code-head" }, make("span", {}, language || "text"), button);
  return make("div", { class: "code" }, head, make("pre", { tabIndex: 0 }, make("code", {}, code)));
}

function list(lines, depth) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const ordered = /\d/.test(mark);
  const element = make(ordered ? "ol" : "ul");
  if (ordered) element.start = Number.parseInt(mark, 10);
  let item = [];
  const flush = () => {
    if (item.length) element.append(listItem(item, depth));
  };
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found && found[1].length <= indent.length + 1) {
      flush();
      item = [found[3]];
    } else {
      item.push(line.slice(Math.min(line.search(/\S|$/), indent.length + mark.length + 1)));
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

/** Emphasis, code and links of a paragraph, as nodes. */
export function inline(text, depth = 0) {
  const nodes = [];
  let rest = text.length > MOST_INLINE || depth > MOST_NESTED ? "" : text;
  if (!rest) return [document.createTextNode(text)];
  for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
    if (found.index) nodes.push(document.createTextNode(rest.slice(0, found.index)));
    nodes.push(span(found, depth + 1));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) nodes.push(document.createTextNode(rest));
  return nodes;
}

function span(found, depth) {
  const { code, bold, star, underline, label, target, address } = found.groups;
  if (code !== undefined) return make("code", {}, code);
  if (bold !== undefined) return make("strong", {}, ...inline(bold, depth));
  if (star !== undefined || underline !== undefined) return make("em", {}, ...inline(star ?? underline, depth));
  if (address !== undefined) return link(address, [address]) ?? document.createTextNode(found[0]);
  return link(target, inline(label, depth)) ?? document.createTextNode(found[0]);
}

/** A link that leaves the page as it is; null for anything but web and mail addresses (no javascript:, no data:). */
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
