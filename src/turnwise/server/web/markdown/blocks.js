// Draws a tree of blocks. Blocks that have not changed keep their elements, also within lists, tables and quotations.

import { iconButton, make } from "../dom.js";
import { t } from "../i18n.js";
import { CodeBlock } from "./code_block.js";
import { formula } from "./formula.js";
import { inlineNodes } from "./inlines.js";
import { jumpTo } from "./marks.js";

const TAGS = {
  blockquote: "blockquote", bullet_list: "ul", ordered_list: "ol", list_item: "li", table: "table", thead: "thead", tbody: "tbody",
  tr: "tr", th: "th", td: "td", paragraph: "p", hr: "hr",
};
// The direction of a list, a quotation or a table is that of its first letter. A child with `dir` would not count, so its parts have none;
// the style sheet gives each of them the direction of its text.
const NESTING = new Set(["bullet_list", "ordered_list", "blockquote"]);
const WITHOUT_DIRECTION = new Set(["list_item", "thead", "tbody", "tr", "th", "hr"]);

/**
 * Make the children of `parent` show `blocks`.
 *
 * @param before the blocks that `parent` shows. They are matched by position.
 * @param context see `inlineNodes`; `context.numDrawn` counts the blocks whose text was drawn.
 */
export function drawBlocks(parent, before, blocks, context, isNested = false) {
  blocks.forEach((block, index) => {
    const old = before[index];
    if (old?.shape === block.shape) {
      keep(old, block, context, isNested);
      return;
    }
    create(block, context, isNested);
    if (old) old.element.replaceWith(block.element);
    else parent.append(block.element);
  });
  for (const old of before.slice(blocks.length)) old.element.remove();
}

function keep(old, block, context, isNested) {
  block.element = old.element;
  block.inner = old.inner;
  block.view = old.view;
  if (block.children) drawBlocks(block.inner, old.children, block.children, context, isNested || NESTING.has(block.type));
  else if (old.content !== block.content || (block.view && context.isComplete)) fill(block, context);
}

function create(block, context, isNested) {
  if (block.type === "code") {
    block.view = new CodeBlock(block.label);
    block.element = block.view.element;
  } else if (block.type === "math_block") {
    block.element = make("div", { class: "math-block" });
  } else if (block.type === "footnote") {
    block.element = make("div", { class: "footnote", dir: "auto", role: "note", tabIndex: -1 });
  } else {
    const tag = block.type === "heading" ? `h${block.level}` : TAGS[block.type] ?? "p";
    block.element = make(tag);
    if (!isNested && !WITHOUT_DIRECTION.has(block.type)) block.element.dir = "auto";
    setProperties(block);
  }
  block.inner ??= block.element;
  if (block.type === "table") {
    block.element = make("div", { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": t("Table") }, block.inner);
  }
  if (block.children) drawBlocks(block.inner, [], block.children, context, isNested || NESTING.has(block.type));
  else fill(block, context);
}

function setProperties(block) {
  const { element, type } = block;
  if (type === "heading") element.className = `heading heading-${block.size}`;
  else if (type === "ordered_list") element.start = block.start;
  else if (type === "paragraph" && block.isTight) element.className = "tight";
  else if (type === "th") element.scope = "col";
  if (block.align) element.classList.add(`align-${block.align}`);
  if (type === "list_item" && block.isDone !== undefined) {
    element.className = "task";
    const box = make("input", { type: "checkbox", checked: block.isDone, disabled: true, "aria-label": block.isDone ? t("Done") : t("Not done") });
    element.append(box);
    block.inner = make("div", { class: "task-content" });
    element.append(block.inner);
  }
}

function fill(block, context) {
  if (block.type === "hr") return;
  context.numDrawn += 1;
  if (block.view) block.view.update(block.content, context.isComplete);
  else if (block.type === "math_block") block.element.replaceChildren(formula(block.content, true, block.isComplete));
  else if (block.type === "footnote") fillNote(block, context);
  else block.element.replaceChildren(inlineNodes(block.content, context));
}

function fillNote(block, context) {
  const note = context.notes.get(block.name);
  block.element.replaceChildren(make("sup", {}, String(note?.number ?? block.name)), " ", inlineNodes(block.content, context));
  if (!note) return;
  note.target = block.element;
  block.element.append(" ", iconButton("left", t("Back to the text"), () => jumpTo(note.marks[0])));
}
