// Formulas: TeX is shown as text, until the library has made MathML of it. Wrong TeX stays text.

import { make } from "../dom.js";
import { t } from "../i18n.js";
import { enqueue } from "./work_queue.js";

const MAX_CHARS = 5000;
const MAX_TREES = 300; // trees of formulas that are kept, for those that are drawn again while an answer arrives
const OPTIONS = { throwOnError: true, trust: false, strict: false, maxExpand: 300, maxSize: [20, 200] };

const trees = new Map(); // by kind and source; null: wrong TeX
let temml = null;
let mathNode = null;
let loading = null;

function load() {
  loading ??= Promise.all([import("../vendor/temml/temml.js"), import("./math_nodes.js")]).then(
    ([library, nodes]) => {
      temml = library.default;
      mathNode = nodes.mathNode;
    },
    (error) => {
      loading = null;
      throw error;
    },
  );
  if (!document.getElementById("temml-style")) {
    const href = new URL("../vendor/temml/temml.css", import.meta.url).href;
    document.head.append(make("link", { id: "temml-style", rel: "stylesheet", href }));
  }
  return loading;
}

/** An element with a formula. */
export function formula(source, isDisplay, isComplete = true) {
  const element = make("span", { class: isDisplay ? "math math-display" : "math", dir: "ltr" });
  if (isDisplay) element.tabIndex = 0; // it may scroll
  element.append(make("code", { class: "math-source" }, source));
  if (!isComplete) return element;
  if (source.length > MAX_CHARS) markWrong(element);
  else if (trees.has(keyOf(source, isDisplay))) typeset(element, source, isDisplay);
  else load().then(() => enqueue(() => element.isConnected && typeset(element, source, isDisplay)), () => {});
  return element;
}

const keyOf = (source, isDisplay) => `${isDisplay ? "block" : "inline"}:${source}`;

function typeset(element, source, isDisplay) {
  const key = keyOf(source, isDisplay);
  if (!trees.has(key)) {
    if (trees.size >= MAX_TREES) trees.delete(trees.keys().next().value);
    trees.set(key, parse(source, isDisplay));
  }
  try {
    const tree = trees.get(key);
    if (!tree) throw new RangeError("no tree");
    element.replaceChildren(mathNode(tree));
  } catch {
    markWrong(element);
  }
}

function parse(source, isDisplay) {
  try {
    return temml.__renderToMathMLTree(source, { ...OPTIONS, displayMode: isDisplay });
  } catch {
    return null; // wrong, too deep or too long
  }
}

function markWrong(element) {
  element.classList.add("wrong");
  element.title = t("This formula cannot be shown.");
}
