// The Markdown parser: markdown-it with formulas and footnotes. It is loaded when the first text is shown.

import { addFootnotes } from "./footnote_rules.js";
import { addMath } from "./math_rules.js";

const MAX_NESTING = 24; // of quotations and lists; deeper ones are text
let loading = null;

/** The parser: `blocks(text, env)` and `inlines(text, env)` return tokens. Null until it is loaded. */
export let parser = null;

/** Load the parser. After a failure, the next call tries again. */
export function loadParser() {
  loading ??= import("../vendor/markdown-it/markdown-it.js").then(
    () => {
      parser = createParser(globalThis.markdownit);
      return parser;
    },
    (error) => {
      loading = null;
      throw error;
    },
  );
  return loading;
}

function createParser(MarkdownIt) {
  // markdown-it drops what is nested too deeply. Blocks are limited here instead, so that no text is lost.
  const forBlocks = configure(MarkdownIt, 100 * MAX_NESTING);
  const forInlines = configure(MarkdownIt, 30);
  forBlocks.disable("inline"); // blocks.js parses the text of a block when it is drawn
  limitNesting(forBlocks, "blockquote", ["paragraph", "reference", "blockquote", "list"]);
  limitNesting(forBlocks, "list", ["paragraph", "reference", "blockquote"]);
  return {
    blocks: (text, env) => forBlocks.parse(text, env),
    inlines: (text, env) => {
      const tokens = [];
      forInlines.inline.parse(text, forInlines, env, tokens);
      return tokens;
    },
  };
}

function configure(MarkdownIt, maxNesting) {
  const markdown = new MarkdownIt({ html: false, linkify: false, typographer: false, breaks: true, maxNesting });
  markdown.validateLink = () => true; // links.js decides what becomes a link
  markdown.normalizeLink = (address) => address;
  addMath(markdown);
  addFootnotes(markdown);
  return markdown;
}

function limitNesting(markdown, name, alt) {
  const { fn: rule } = markdown.block.ruler.__rules__.find((entry) => entry.name === name);
  markdown.block.ruler.at(name, (state, ...rest) => state.level < MAX_NESTING && rule(state, ...rest), { alt });
}
