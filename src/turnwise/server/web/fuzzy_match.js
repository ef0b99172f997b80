// Fuzzy search: the letters of a query occur in a text in their order.

const WORD_START = 8;
const CONSECUTIVE = 5;
const GAP = -0.2; // per letter that is skipped

/**
 * Match a query with a text.
 *
 * @returns { score, positions }: a higher score is a better match, `positions` are the matched letters; null without a match.
 */
export function fuzzyMatch(query, text) {
  const letters = [...query.toLowerCase()].filter((letter) => letter.trim());
  const lower = text.toLowerCase();
  if (!letters.length) return { score: 0, positions: [] };
  const whole = lower.indexOf(query.trim().toLowerCase());
  if (whole >= 0) {
    const start = whole === 0 || isWordStart(text, whole) ? WORD_START : 0;
    const positions = Array.from({ length: query.trim().length }, (_, i) => whole + i);
    return { score: 100 + start - text.length / 100, positions };
  }
  const positions = [];
  let score = -text.length / 100;
  let from = 0;
  for (const letter of letters) {
    const next = bestPosition(lower, text, letter, from);
    if (next < 0) return null;
    score += isWordStart(text, next) ? WORD_START : 0;
    score += next === from && positions.length ? CONSECUTIVE : GAP * (next - from);
    positions.push(next);
    from = next + 1;
  }
  return { score, positions };
}

/** The next place of a letter: the one that goes on directly, else the start of a word, else the first one. */
function bestPosition(lower, text, letter, from) {
  const first = lower.indexOf(letter, from);
  if (first <= from) return first;
  for (let at = first; at >= 0; at = lower.indexOf(letter, at + 1)) if (isWordStart(text, at)) return at;
  return first;
}

const isWordStart = (text, at) => at === 0 || /[\s:–·,/]/.test(text[at - 1]);
