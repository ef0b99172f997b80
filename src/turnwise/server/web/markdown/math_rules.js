// Rules for markdown-it: formulas between $…$, $$…$$, \(…\) and \[…\].

const DOLLAR = 0x24;
const BACKSLASH = 0x5c;
const CLOSING = { "$$": "$$", "\\[": "\\]" };
const MAX_CHARS = 5000; // of a formula within a line

export function addMath(markdown) {
  markdown.inline.ruler.before("escape", "math", inlineRule);
  markdown.inline.ruler.before("escape", "dollar_math", dollarRule);
  markdown.block.ruler.before("fence", "math", blockRule, { alt: ["paragraph", "reference", "blockquote", "list"] });
}

function push(state, end, { source, isDisplay }, silent) {
  if (!silent) {
    const token = state.push("math", "", 0);
    token.content = source;
    token.meta = { isDisplay };
  }
  state.pos = end;
  return true;
}

/**
 * The position of the next `mark` at or after `from`, or -1. A mark that does not occur is searched once per text: the
 * position from which there is none is stored in `state`.
 */
function indexOf(state, mark, from) {
  state.absentFrom ??= {};
  if (from >= (state.absentFrom[mark] ?? Infinity)) return -1;
  const end = state.src.indexOf(mark, from);
  if (end < 0) state.absentFrom[mark] = from;
  return end;
}

/** \(…\) and \[…\]. */
function inlineRule(state, silent) {
  const { src, pos } = state;
  if (src.charCodeAt(pos) !== BACKSLASH || !"([".includes(src[pos + 1] || " ")) return false;
  const isDisplay = src[pos + 1] === "[";
  const end = indexOf(state, isDisplay ? "\\]" : "\\)", pos + 2);
  if (end < 0 || end - pos > MAX_CHARS) return false;
  const source = src.slice(pos + 2, end).trim();
  return source !== "" && push(state, end + 2, { source, isDisplay }, silent);
}

/** $…$ and $$…$$. Prices are no formulas: no blank inside of the marks, no digit after them. Code is none either. */
function dollarRule(state, silent) {
  const { src, pos } = state;
  if (src.charCodeAt(pos) !== DOLLAR) return false;
  if (src[pos + 1] === "$") {
    const end = indexOf(state, "$$", pos + 2);
    const source = end < 0 ? "" : src.slice(pos + 2, end).trim();
    if (source && end - pos <= MAX_CHARS) return push(state, end + 2, { source, isDisplay: true }, silent);
    if (!silent) state.pending += "$$";
    state.pos += 2;
    return true;
  }
  if (/\s/.test(src[pos + 1] ?? " ")) return false;
  for (let end = indexOf(state, "$", pos + 1); end >= 0 && end - pos <= MAX_CHARS; end = indexOf(state, "$", end + 1)) {
    if (src[end - 1] === "\\") continue;
    const source = src.slice(pos + 1, end);
    if (/\s$/.test(source) || source.includes("`") || /\d/.test(src[end + 1] ?? "")) return false;
    return push(state, end + 1, { source, isDisplay: false }, silent);
  }
  return false;
}

/** $$ or \[ at the start of a line, up to the closing mark at the end of the same or a later line. */
function blockRule(state, startLine, endLine, silent) {
  if (state.sCount[startLine] - state.blkIndent >= 4) return false;
  const lineAt = (line) => state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
  const first = lineAt(startLine);
  const closing = CLOSING[first.slice(0, 2)];
  if (!closing) return false;
  const lines = [];
  let line = startLine;
  let isClosed = false;
  for (let text = first.slice(2); ; text = lineAt(line)) {
    const at = text.indexOf(closing);
    if (at >= 0) {
      if (text.slice(at + 2).trim()) return false; // text follows: a formula within a paragraph
      lines.push(text.slice(0, at));
      isClosed = true;
      break;
    }
    lines.push(text);
    line += 1;
    if (line >= endLine || state.sCount[line] < state.blkIndent || !lineAt(line).trim()) break;
  }
  const source = lines.join("\n").trim();
  const isArriving = state.env.isStreaming && line >= endLine;
  if ((!isClosed && !isArriving) || !source) return false;
  if (silent) return true;
  const token = state.push("math_block", "", 0);
  token.block = true;
  token.content = source;
  token.map = [startLine, Math.min(line + 1, endLine)];
  token.meta = { isDisplay: true, isClosed };
  state.line = token.map[1];
  return true;
}
