// Which words of the context a layer and a head of the model read at one place of an answer.

import * as api from "./api.js";
import { make } from "./dom.js";
import { t } from "./i18n.js";
import { percent, tokenLabel, tokenTexts } from "./token_view.js";

const NUM_STRONGEST = 10;
const LEVELS = [0.02, 0.08, 0.2, 0.5]; // least share of the largest weight

export class AttentionView {
  /** `request()`: the messages, the model and the start of the answer. */
  constructor(request) {
    this.request = request;
    this.abort = new AbortController();
    this.layer = make("input", { id: "attention-layer", type: "range", min: "0", oninput: () => this.show() });
    this.layerNumber = make("output", { for: "attention-layer" });
    this.head = make("select", { id: "attention-head", onchange: () => this.show() });
    this.sink = make("input", { id: "attention-sink", type: "checkbox", onchange: () => this.#paint() });
    this.sinkText = make("label", { for: "attention-sink" });
    this.text = make("div", { class: "token-view", role: "group", tabIndex: 0, "aria-label": t("Text of the context"), dir: "auto" });
    this.list = make("ol", { class: "attention-list" });
    this.result = make("div", { hidden: true },
      make("div", { class: "attention-controls" },
        make("label", { for: "attention-layer" }, t("Layer")), this.layer, this.layerNumber,
        make("label", { for: "attention-head" }, t("Head")), this.head, this.sink, this.sinkText),
      this.text, this.list);
    this.status = make("p", { class: "token-note", role: "status" });
    this.element = make("div", {},
      make("p", { class: "token-note" }, t("What the model read before it chose the word at this place. The more it read a word, the stronger the colour and the thicker the line.")),
      this.status, this.result);
  }

  /** Load the weights at the present place. */
  async show() {
    this.abort.abort();
    const { signal } = (this.abort = new AbortController());
    const [layer, head] = [this.layer, this.head].map(({ value }) => (this.attention && value ? Number(value) : null));
    if (this.attention) this.layerNumber.textContent = layer;
    this.status.textContent = t("The attention is being computed.");
    try {
      const attention = await api.attention({ ...this.request(), layer, head }, signal);
      if (!this.attention) this.#fillControls(attention);
      this.attention = attention;
      this.#paint();
    } catch (error) {
      if (error.name !== "AbortError") this.status.textContent = error.message;
      return;
    }
    this.result.hidden = false;
    this.status.textContent = "";
  }

  #fillControls({ layer, num_layers: numLayers, num_heads: numHeads }) {
    this.layer.max = numLayers - 1;
    this.layer.value = this.layerNumber.textContent = layer;
    const heads = Array.from({ length: numHeads }, (_, i) => make("option", { value: i }, String(i)));
    this.head.append(make("option", { value: "" }, t("Mean of all heads")), ...heads);
  }

  #paint() {
    const { tokens } = this.attention;
    this.sinkText.textContent = t("Leave out the first token “{token}”, the attention sink: {weight}", { token: tokenLabel(tokens[0]), weight: percent(tokens[0].weight) });
    const weights = tokens.map(({ weight }, i) => (i === 0 && this.sink.checked ? 0 : weight));
    const order = weights.map((_, i) => i).filter((i) => weights[i]).sort((a, b) => weights[b] - weights[a]);
    const texts = tokenTexts(tokens);
    const spans = tokens.map((token, i) => {
      const level = weights[i] ? LEVELS.filter((least) => weights[i] >= least * weights[order[0]]).length : 0;
      return make("span", { class: `token read-${level}`, title: `${tokenLabel(token)}, ${percent(token.weight)}` }, texts[i]);
    });
    this.text.replaceChildren(...spans);
    this.text.scrollTop = this.text.scrollHeight; // the words before the place
    this.list.replaceChildren(...order.slice(0, NUM_STRONGEST).map((i) => make("li", {}, this.#entry(i, spans))));
  }

  /** A button that marks the word in the text. */
  #entry(index, spans) {
    const token = this.attention.tokens[index];
    const mark = () => {
      this.text.querySelector(".is-marked")?.classList.remove("is-marked");
      spans[index].classList.add("is-marked");
      spans[index].scrollIntoView({ block: "nearest" });
    };
    return make("button", { type: "button", class: "token-choice", onclick: mark },
      make("span", { class: "token-name", dir: "auto" }, tokenLabel(token)),
      make("span", { class: "token-figures" }, t("{weight}, token {number} of {all}", { weight: percent(token.weight), number: index + 1, all: spans.length })));
  }
}
