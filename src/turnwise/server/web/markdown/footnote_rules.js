// Rules for markdown-it: footnotes. [^name] refers to a note, and a line "[^name]: text" is the note.

const DEFINITION = /^\[\^([^\]\s]{1,80})\]:[ \t]*/;
const REFERENCE = /\[\^([^\]\s]{1,80})\]/y;

export function addFootnotes(markdown) {
  markdown.block.ruler.before("reference", "footnote", definitionRule, { alt: ["paragraph", "reference"] });
  markdown.inline.ruler.before("link", "footnote", referenceRule);
}

/** A note is its line and the lines after it, up to a blank line or the next note. */
function definitionRule(state, startLine, endLine, silent) {
  if (state.sCount[startLine] - state.blkIndent >= 4) return false;
  const lineAt = (line) => state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
  const match = DEFINITION.exec(lineAt(startLine));
  if (!match) return false;
  if (silent) return true;
  const lines = [lineAt(startLine).slice(match[0].length)];
  let line = startLine + 1;
  for (; line < endLine && lineAt(line).trim() && !DEFINITION.test(lineAt(line)); line += 1) lines.push(lineAt(line));
  const token = state.push("footnote", "", 0);
  token.block = true;
  token.content = lines.join("\n").trim();
  token.map = [startLine, line];
  token.meta = { name: match[1] };
  state.line = line;
  return true;
}

function referenceRule(state, silent) {
  REFERENCE.lastIndex = state.pos;
  const match = state.src[state.pos] === "[" && REFERENCE.exec(state.src);
  if (!match) return false;
  if (!silent) {
    const token = state.push("footnote_reference", "", 0);
    token.content = match[0];
    token.meta = { name: match[1] };
  }
  state.pos += match[0].length;
  return true;
}
