// Finds the reasoning of a model, such as <think>…</think>, which is folded away.

const NAMES = ["think", "thinking", "thought", "reasoning"];
const OPENING = new RegExp(`^\\s*<(${NAMES.join("|")})>`, "i");
const CLOSING = new RegExp(`</(?:${NAMES.join("|")})>`, "i");
const PARTIAL_OPENING = /^\s*<[a-z]{0,9}$/i;
const PARTIAL_CLOSING = /<\/?[a-z]{0,9}$/i;
const FENCE = /^ {0,3}(```|~~~)/gm;

/**
 * Divide an answer into its reasoning and the rest.
 *
 * @param isStreaming the end of the text may be the beginning of a tag, which is left out.
 *
 * Reasoning stands at the start of the answer, or follows other reasoning. The opening tag may be missing, because the
 * templates of some models have it in the prompt.
 *
 * @return segments `{ isReasoning, isOpen, text }`; the reasoning is open until its closing tag has arrived.
 */
export function splitReasoning(text, isStreaming = false) {
  const segments = [];
  let rest = text;
  for (let match = OPENING.exec(rest); match; match = OPENING.exec(rest)) {
    const content = rest.slice(match[0].length);
    const end = CLOSING.exec(content);
    const openText = isStreaming ? content.replace(PARTIAL_CLOSING, "") : content;
    segments.push({ isReasoning: true, isOpen: !end, text: end ? content.slice(0, end.index) : openText });
    if (!end) return segments;
    rest = content.slice(end.index + end[0].length);
  }
  const orphan = segments.length ? null : CLOSING.exec(rest);
  if (orphan && isLineEnd(rest, orphan) && !isInCode(rest.slice(0, orphan.index))) {
    segments.push({ isReasoning: true, isOpen: false, text: rest.slice(0, orphan.index) });
    rest = rest.slice(orphan.index + orphan[0].length);
  }
  if (isStreaming && PARTIAL_OPENING.test(rest)) rest = "";
  segments.push({ isReasoning: false, isOpen: false, text: rest });
  return segments;
}

const isLineEnd = (text, match) => "\n".includes(text[match.index + match[0].length] ?? "\n");

const isInCode = (text) => (text.match(FENCE) ?? []).length % 2 === 1;
