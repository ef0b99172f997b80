// The tree of temml as MathML nodes. Only names in these lists are created: no links, no ids, no style attributes.

const MATHML = "http://www.w3.org/1998/Math/MathML";
const MAX_DEPTH = 120;
const MAX_NODES = 20_000;

const ELEMENTS = new Set(
  ("math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle merror mpadded mphantom menclose msub msup msubsup munder mover " +
    "munderover mmultiscripts mprescripts mtable mtr mtd semantics").split(" "),
);
const ATTRIBUTES = new Set(
  ("accent accentunder columnalign columnlines columnspacing columnspan depth display displaystyle fence form height largeop " +
    "linebreak linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize movablelimits notation rowlines " +
    "rowspacing rowspan rspace scriptlevel separator side stretchy symmetric voffset width").split(" "),
);
const STYLES = new Set(
  ("backgroundColor border borderBottom borderColor borderLeft borderRight borderStyle borderTop borderWidth color display fontFamily " +
    "fontSize fontStyle fontWeight height letterSpacing mathDepth math-depth mathStyle math-style margin marginLeft marginRight minWidth padding " +
    "paddingBottom paddingLeft paddingRight paddingTop textAlign textDecoration transform verticalAlign whiteSpace width").split(" "),
);

/** Create the nodes of a tree. Throws `RangeError` for a tree that is too deep or too large. */
export function mathNode(tree) {
  return build(tree, 0, { nodes: MAX_NODES });
}

function build(tree, depth, budget) {
  budget.nodes -= 1;
  if (depth > MAX_DEPTH || budget.nodes < 0) throw new RangeError("This formula is too large.");
  if (typeof tree.text === "string") return document.createTextNode(tree.text);
  const element = elementOf(tree);
  for (const child of tree.children ?? []) {
    if (child) element.append(build(child, depth + 1, budget));
  }
  return element;
}

/** An element without children. What is no element of a formula becomes a plain group. */
function elementOf(tree) {
  const hasName = typeof tree.type === "string";
  if (!hasName && !tree.attributes) return document.createDocumentFragment();
  if (tree.type === "annotation") return document.createDocumentFragment();
  const element = hasName ? document.createElementNS(MATHML, ELEMENTS.has(tree.type) ? tree.type : "mrow") : document.createElement("span");
  for (const [name, value] of Object.entries(tree.attributes ?? {})) {
    if (ATTRIBUTES.has(name)) element.setAttribute(name, String(value));
  }
  for (const [name, value] of Object.entries(tree.style ?? {})) {
    if (STYLES.has(name) && !/url|expression|var/i.test(String(value))) element.style[name] = value;
  }
  const classes = (tree.classes ?? []).filter((name) => /^[a-z][\w-]*$/i.test(name));
  if (classes.length) element.setAttribute("class", classes.join(" "));
  return element;
}
