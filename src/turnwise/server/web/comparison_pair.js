// One message that both setups answer, and the verdict about the answers.

import * as api from "./api.js";
import { AnswerColumn } from "./answer_column.js";
import { toRequest } from "./chat_request.js";
import { make } from "./dom.js";
import { t } from "./i18n.js";

export class ComparisonPair {
  /**
   * @param setups { a, b }: each { title, label, settings }.
   * @param messages { a, b }: the messages that each answers.
   * @param prompt text that is shown above the answers.
   * @param isBlind whether names and figures are hidden and the sides random until there is a verdict.
   * @param isStored whether the server stores the answers, so that verdicts can be stored.
   */
  constructor({ setups, messages, prompt, isBlind, isStored }) {
    Object.assign(this, { setups, messages, prompt, isBlind, isStored });
    this.verdict = null;
    this.comparison = null; // id of the stored comparison
    this.isComplete = false;
    this.sides = isBlind && Math.random() < 0.5 ? ["b", "a"] : ["a", "b"]; // names of the setups, left and right
    this.columns = Object.fromEntries(this.sides.map((name, index) => [name, new AnswerColumn(
      isBlind ? [t("Left"), t("Right")][index] : setups[name].title, { hidesFigures: isBlind })]));
    this.element = make("li", { class: "turn" },
      make("p", { class: "turn-prompt", dir: "auto" }, prompt),
      make("div", { class: "answer-columns" }, ...this.sides.map((name) => this.columns[name].element)),
    );
  }

  /** The request of a setup, as it is sent. */
  request(name) {
    const request = toRequest(this.messages[name], this.setups[name].settings);
    return this.isStored ? { ...request, store: true, metadata: { source: "playground" } } : request;
  }

  /** Stream both answers at the same time. */
  async stream(signal) {
    await Promise.all(this.sides.map((name) => this.columns[name].stream(api.complete(this.request(name), signal))));
    this.isComplete = this.sides.every((name) => this.columns[name].text && !this.columns[name].error);
  }

  /** The messages of a setup with its answer, for the next message. */
  history(name) {
    const { text } = this.columns[name];
    return text ? [...this.messages[name], { role: "assistant", content: text }] : this.messages[name].slice(0, -1);
  }

  /** Store a verdict and show the names. If the server rejects it, the names stay hidden. */
  async decide(verdict) {
    if (this.#canBeStored()) {
      const [left, right] = this.sides.map((name) => this.#reference(name));
      this.comparison = (await api.addComparison({ left, right, verdict })).id;
    }
    this.verdict = verdict;
    this.reveal();
  }

  /** Delete the stored verdict. The names stay visible. */
  async undo() {
    if (this.comparison) await api.deleteComparison(this.comparison);
    this.comparison = this.verdict = null;
  }

  reveal() {
    for (const name of this.sides) {
      this.columns[name].heading.textContent = this.setups[name].title;
      this.columns[name].showFigures();
    }
  }

  /** The name of the better setup: "a", "b", "equal" or "both_bad"; null without a verdict. */
  get outcome() {
    return { left: this.sides[0], right: this.sides[1] }[this.verdict] ?? this.verdict;
  }

  #canBeStored() {
    return this.isStored && this.sides.every((name) => this.columns[name].id && this.columns[name].finish !== "cancelled");
  }

  #reference(name) {
    const { label } = this.setups[name];
    return { completion_id: this.columns[name].id, ...(label ? { label } : {}) };
  }
}
