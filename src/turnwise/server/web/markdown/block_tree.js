// The tokens of markdown-it as a tree of blocks. The shape of a block says which element it is, its content what is in it.

const CONTAINERS = new Set(["blockquote", "bullet_list", "ordered_list", "list_item", "table", "thead", "tbody", "tr"]);
const LEAVES = new Set(["paragraph", "heading", "th", "td"]);
const TASK = /^\[([ xX])\]\s/;

/**
 * Build the tree.
 *
 * @param tokens of the block parser.
 * @param lastLevel level of the heading before the text, for screen readers: levels are not skipped.
 * @return blocks of the top level: `{ type, shape, content, children, lines, … }`.
 */
export function buildTree(tokens, lastLevel = 1) {
  const root = { children: [] };
  const stack = [root];
  let level = lastLevel;
  for (const token of tokens) {
    const parent = stack.at(-1);
    const name = token.type.replace(/_(open|close)$/, "");
    if (token.nesting === 1) {
      const block = { type: name, shape: name, content: "", children: CONTAINERS.has(name) ? [] : null, lines: token.map };
      if (name === "heading") {
        level = Math.min(Number(token.tag[1]) + 1, level + 1, 6);
        Object.assign(block, { level, size: Number(token.tag[1]), shape: `heading ${level} ${token.tag}` });
      } else if (name === "paragraph") {
        Object.assign(block, { isTight: token.hidden, shape: `paragraph ${token.hidden}` });
      } else if (name === "ordered_list") {
        Object.assign(block, { start: Number(token.attrGet("start") ?? 1), shape: `ordered_list ${token.attrGet("start") ?? 1}` });
      } else if (LEAVES.has(name)) {
        const align = /text-align:(\w+)/.exec(token.attrGet("style") ?? "")?.[1] ?? "";
        Object.assign(block, { align, shape: `${name} ${align}` });
      }
      parent.children?.push(block);
      stack.push(block);
    } else if (token.nesting === -1) {
      stack.pop();
    } else if (token.type === "inline") {
      addText(parent, stack.at(-2), token.content);
    } else {
      parent.children?.push(leafOf(token));
    }
  }
  return { blocks: root.children, lastLevel: level };
}

/** Set the text of a block. "[x] " at the start of a list item is a check box. */
function addText(block, parent, text) {
  block.content = text;
  const task = parent?.type === "list_item" && parent.children[0] === block ? TASK.exec(text) : null;
  if (!task) return;
  block.content = text.slice(task[0].length);
  parent.isDone = task[1] !== " ";
  parent.shape = `list_item ${parent.isDone}`;
}

function leafOf(token) {
  const { type, content, map, info, meta } = token;
  const block = { type, shape: type, content, children: null, lines: map };
  if (type === "fence" || type === "code_block") {
    const label = /^[\w+#.-]*/.exec(info.trim())[0];
    Object.assign(block, { type: "code", label, shape: `code ${label}`, content: content.replace(/\n$/, "") });
  } else if (type === "math_block") {
    Object.assign(block, { isComplete: meta.isClosed, shape: `math_block ${meta.isClosed}` });
  } else if (type === "footnote") {
    Object.assign(block, { name: meta.name, shape: `footnote ${meta.name}` });
  }
  return block;
}
