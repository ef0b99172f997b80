// The Markdown parser: markdown-it with formulas and footnotes. It is loaded when the first text is shown.

import { addFootnotes } from "./footnote_rules.js";
import { addMath } from "./math_rules.js";

const MAX_NESTING = 30; // of blocks
let loading = null;

/** The parser; null until it is loaded. */
export let parser = null;

/** Load the parser. After a failure, the next call tries again. */
export function loadParser() {
  loading ??= import("../vendor/markdown-it/markdown-it.js").then(
    (library) => {
      parser = configure(library.default);
      return parser;
    },
    (error) => {
      loading = null;
      throw error;
    },
  );
  return loading;
}

function configure(MarkdownIt) {
  const markdown = new MarkdownIt({ html: false, linkify: false, typographer: false, breaks: true, maxNesting: MAX_NESTING });
  markdown.disable("inline"); // blocks.js parses the text of a block when it is drawn
  markdown.validateLink = () => true; // links.js decides what becomes a link
  markdown.normalizeLink = (address) => address;
  addMath(markdown);
  addFootnotes(markdown);
  return markdown;
}
