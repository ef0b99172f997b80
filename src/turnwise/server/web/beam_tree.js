// The tree of a beam search: every hypothesis that the search kept, and the answers that it returned.

import * as api from "./api.js";
import { make, makeSvg } from "./dom.js";
import { t } from "./i18n.js";
import { percent, tokenLabel } from "./token_view.js";

const STEP_WIDTH = 92;
const ROW_HEIGHT = 26;
const MAX_TEXT = 10; // characters of a node
const DEPTH = 12; // tokens of a search

/** Positions of the nodes: a column for each step, a row for each leaf, parents in the middle of their children. */
export function layout(nodes) {
  const children = nodes.map(() => []);
  const roots = [];
  nodes.forEach(({ parent }, i) => (parent === undefined ? roots : children[parent]).push(i));
  const rows = [];
  let next = 0;
  // Children come after their parents, so that the depth-first order needs a stack but no recursion.
  const order = [];
  const stack = [...roots].reverse();
  while (stack.length) {
    const node = stack.pop();
    order.push(node);
    stack.push(...[...children[node]].reverse());
  }
  for (const node of order) if (!children[node].length) rows[node] = next++;
  for (const node of [...order].reverse()) {
    if (children[node].length) rows[node] = children[node].reduce((sum, child) => sum + rows[child], 0) / children[node].length;
  }
  return { children, roots, order, places: nodes.map(({ step }, i) => ({ x: (step - 1) * STEP_WIDTH + 8, y: rows[i] * ROW_HEIGHT + 18 })), numRows: next };
}

export class BeamTree {
  /** `request()`: the request without the search. `choose(ids)`: called with the tokens of a hypothesis. */
  constructor(request, choose) {
    this.request = request;
    this.choose = choose;
    this.numSearches = 0;
    this.result = make("div", {});
    const count = make("input", { id: "beam-count", type: "number", min: "2", max: "8", value: "4" });
    const button = make("button", { type: "button", class: "quiet-button", onclick: () => this.#search(count) }, t("Show the beams"));
    this.element = make("section", { class: "beams", "aria-label": t("Beam search") },
      make("h3", {}, t("Beam search")),
      make("p", { class: "token-note" }, t("The most likely continuations of {depth} words from this place, found by a search instead of sampling.", { depth: DEPTH })),
      make("div", { class: "token-actions" }, make("label", { for: "beam-count" }, t("Beams")), count, button),
      this.result,
    );
  }

  async #search(count) {
    if (!count.reportValidity()) return;
    const beams = Number(count.value);
    const search = (this.numSearches += 1);
    this.result.replaceChildren(); // the nodes belong to the place of the earlier search
    try {
      const request = { ...this.request(), num_beams: beams, max_tokens: DEPTH };
      // A search may find fewer answers than it has beams.
      const response = await api.beams({ ...request, n: Math.min(beams, 3) }).catch((error) => (error.status === 400 ? api.beams(request) : Promise.reject(error)));
      if (search === this.numSearches) this.#show(response.beams);
    } catch (error) {
      if (search !== this.numSearches) return;
      this.result.replaceChildren(make("p", { class: "error", role: "alert" }, error.message));
    }
  }

  #show(tree) {
    const { nodes, answers } = tree;
    this.nodes = nodes;
    const { children, roots, order, places, numRows } = layout(nodes);
    Object.assign(this, { children, roots, order });
    const path = (node) => (node === undefined ? [] : [...path(nodes[node].parent), node]);
    const inAnswer = new Set(answers.flatMap(path));
    const width = Math.max(...nodes.map(({ step }) => step)) * STEP_WIDTH + 20;
    const edges = nodes.flatMap(({ parent, logprob }, i) => {
      if (parent === undefined) return [];
      const [from, to] = [places[parent], places[i]];
      const start = from.x + STEP_WIDTH - 22;
      return [makeSvg("path", {
        d: `M${start} ${from.y} C${start + 12} ${from.y} ${to.x - 16} ${to.y} ${to.x - 4} ${to.y}`,
        class: inAnswer.has(i) ? "beam-edge in-answer" : "beam-edge", "stroke-width": (0.8 + 3 * Math.exp(logprob)).toFixed(1),
      })];
    });
    this.items = nodes.map((node, i) => this.#item(node, places[i], answers.indexOf(i), inAnswer.has(i), i));
    const height = numRows * ROW_HEIGHT + 12;
    const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "beam-tree", role: "tree", "aria-label": t("Tree of the beam search") },
      makeSvg("g", { "aria-hidden": "true" }, ...edges), ...order.map((i) => this.items[i]));
    svg.addEventListener("keydown", (event) => this.#onKey(event));
    this.#focusable(roots[0]);
    this.path = (node) => path(node).map((i) => nodes[i].id);
    const texts = answers.map((node) => make("li", { dir: "auto" }, path(node).map((i) => nodes[i].token).filter((token) => !token.startsWith("<|")).join("")));
    this.result.replaceChildren(
      make("div", { class: "beam-scroller" }, svg),
      make("p", { class: "token-note" }, t("Arrow keys move in the tree, Enter takes a hypothesis. The answers of the search, best first:")),
      make("ol", { class: "beam-answers" }, ...texts),
    );
  }

  #item({ logprob, score, step, is_finished: isFinished, ...token }, { x, y }, answer, inAnswer, index) {
    const name = tokenLabel({ token: token.token, bytes: null });
    const text = name.length > MAX_TEXT ? `${name.slice(0, MAX_TEXT - 1)}…` : name;
    const rank = answer >= 0 ? `${answer + 1}. ` : "";
    const label = t("{token}, {probability}, total log-probability {score}", { token: name, probability: percent(Math.exp(logprob)), score: score.toFixed(2) })
      + (answer >= 0 ? `, ${t("answer {rank}", { rank: answer + 1 })}` : "");
    const item = makeSvg("g", {
      class: `beam-node${inAnswer ? " in-answer" : ""}${isFinished ? " is-finished" : ""}`, role: "treeitem", "aria-label": label,
      "aria-level": step, "aria-selected": "false", tabindex: -1,
    }, makeSvg("title", {}, label), makeSvg("rect", { x: x - 4, y: y - 11, width: STEP_WIDTH - 18, height: 21, rx: 6 }), makeSvg("text", { x, y: y + 4 }, rank + text));
    item.addEventListener("click", () => this.#take(index));
    return item;
  }

  #take(index) {
    for (const [i, item] of this.items.entries()) item.setAttribute("aria-selected", String(i === index));
    this.#focusable(index);
    this.choose(this.path(index));
  }

  #focusable(index, focus = false) {
    for (const item of this.items) item.setAttribute("tabindex", -1);
    this.items[index].setAttribute("tabindex", 0);
    if (focus) this.items[index].focus();
  }

  #onKey(event) {
    const index = this.items.indexOf(document.activeElement);
    if (index < 0) return;
    const inOrder = this.order.indexOf(index);
    const target = {
      ArrowRight: this.children[index][0], ArrowLeft: this.nodes[index].parent, ArrowDown: this.order[inOrder + 1], ArrowUp: this.order[inOrder - 1],
      Home: this.order[0], End: this.order.at(-1),
    };
    if (event.key === "Enter" || event.key === " ") this.#take(index);
    else if (!(event.key in target)) return;
    else if (target[event.key] !== undefined) this.#focusable(target[event.key], true);
    event.preventDefault();
  }
}
