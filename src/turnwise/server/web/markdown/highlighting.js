// Colours of code. highlight.js finds the scopes; they become elements here, never HTML.

import { make } from "../dom.js";
import { withVisibleControls } from "./plain_text.js";

const MAX_LINE = 2000; // characters; longer lines, such as of minified files, have no colours
const LANGUAGES = {
  bash: "sh shell zsh console shell-session",
  cpp: "c c++ h hpp cc cxx arduino",
  diff: "patch",
  go: "golang",
  java: "kotlin groovy",
  javascript: "js jsx mjs cjs node typescript ts tsx mts cts",
  json: "jsonc json5 jsonl",
  python: "py py3 python3 pycon gyp",
  rust: "rs",
  sql: "mysql postgresql postgres sqlite plsql",
  xml: "html xhtml svg vue rss plist markup",
  yaml: "yml",
};
const NAMES = new Map(Object.entries(LANGUAGES).flatMap(([name, aliases]) => [name, ...aliases.split(" ")].map((alias) => [alias, name])));

const ready = new Set(); // languages that are loaded
const loading = new Map();
let library = null;

/** The language with this label, or null. */
export const languageOf = (label) => NAMES.get(label.toLowerCase()) ?? null;

/** The language with this label, if it is loaded, or null. */
export const readyLanguage = (label) => (ready.has(languageOf(label)) ? languageOf(label) : null);

/** Load the library and a language. */
export function loadLanguage(language) {
  if (!loading.has(language)) {
    const task = Promise.all([import("../vendor/highlight/core.js"), import(`../vendor/highlight/languages/${language}.js`)]);
    loading.set(language, task.then(([core, grammar]) => {
      library ??= withEmitter(core.default);
      library.registerLanguage(language, grammar.default);
      ready.add(language);
    }, (error) => {
      loading.delete(language);
      throw error;
    }));
  }
  return loading.get(language);
}

function withEmitter(core) {
  core.configure({ __emitter: TreeEmitter });
  return core;
}

/** The code as nodes; plain text if its language is not loaded. */
export function highlight(code, language) {
  if (!ready.has(language) || code.split("\n").some((line) => line.length > MAX_LINE)) return withVisibleControls(code);
  const { _emitter: emitter } = library.highlight(code, { language, ignoreIllegals: true });
  return emitter.root.flatMap(toNodes);
}

/** Collects the scopes of a code as a tree: the interface that highlight.js expects of an emitter. */
class TreeEmitter {
  constructor() {
    this.root = [];
    this.stack = [this.root];
  }

  addText(text) {
    if (text) this.stack.at(-1).push(text);
  }

  openNode(scope) {
    const children = [];
    this.stack.at(-1).push({ scope, children });
    this.stack.push(children);
  }

  closeNode() {
    if (this.stack.length > 1) this.stack.pop();
  }

  startScope(scope) {
    this.openNode(scope);
  }

  endScope() {
    this.closeNode();
  }

  __addSublanguage(emitter) {
    this.stack.at(-1).push(...emitter.root);
  }

  finalize() {
    this.stack.length = 1;
  }

  toHTML() {
    return ""; // no HTML is made
  }
}

function toNodes(entry) {
  if (typeof entry === "string") return withVisibleControls(entry);
  const name = entry.scope.split(/[.:]/)[0].replace(/[^a-z_-]/gi, "");
  return [make("span", { class: `hl-${name}` }, ...entry.children.flatMap(toNodes))];
}
