// Long text without markup, in pieces that the browser lays out only near the window.

import { make } from "../dom.js";

const PIECE_CHARS = 2000;
const MANY_MARKS = /(\p{M}{16})\p{M}+/gu; // more marks on one letter take seconds to lay out

export const withFewMarks = (text) => text.replace(MANY_MARKS, "$1");

/** The text as nodes: one text node, or a block for each piece. The text of the nodes together is `text`. */
export function plainText(text) {
  if (text.length <= 2 * PIECE_CHARS) return [text];
  const pieces = [];
  for (let at = 0; at < text.length; ) {
    const end = pieceEnd(text, at);
    pieces.push(make("span", { class: "plain-piece" }, text.slice(at, end)));
    at = end;
  }
  return pieces;
}

/** Cut after a line if there is one, else after a word, never within a character. */
function pieceEnd(text, start) {
  const last = start + PIECE_CHARS;
  if (last >= text.length) return text.length;
  for (const separator of ["\n", " "]) {
    const at = text.lastIndexOf(separator, last);
    if (at > start + PIECE_CHARS / 2) return at + 1;
  }
  return text.codePointAt(last - 1) > 0xffff ? last + 1 : last;
}

/** Text with a mark for every character that changes the direction: with them, code does something else than it shows. */
export function withVisibleControls(text) {
  if (!/[\u202a-\u202e\u2066-\u2069]/.test(text)) return [text];
  return text.split(/([\u202a-\u202e\u2066-\u2069])/).filter(Boolean).map((piece) => {
    const isControl = /^[\u202a-\u202e\u2066-\u2069]$/.test(piece);
    return isControl ? make("span", { class: "control-character" }, `U+${piece.codePointAt(0).toString(16).toUpperCase()}`) : piece;
  });
}
