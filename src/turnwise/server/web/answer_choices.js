// Several answers to one message, streamed side by side. The chosen one goes on; the others stay as branches.

import * as api from "./api.js";
import { AnswerColumn } from "./answer_column.js";
import { make } from "./dom.js";
import { t } from "./i18n.js";

export const MAX_CHOICES = 4; // a browser opens six connections to a server, and a stream takes one

export class AnswerChoices {
  /** `requests`: one body of a chat completion per answer. */
  constructor(requests) {
    this.requests = requests;
    this.columns = requests.map((_, index) => new AnswerColumn(t("Answer {number}", { number: index + 1 })));
    this.element = make("li", { class: "message choices" }, make("div", { class: "answer-columns" }, ...this.columns.map(({ element }) => element)));
  }

  /** Stream all answers. Returns those that have text; throws if there is none because of an error. */
  async stream(signal) {
    await Promise.all(this.columns.map((column, index) => column.stream(this.requests[index], signal)));
    const answered = this.columns.filter(({ text }) => text);
    const failed = this.columns.find(({ error }) => error);
    if (!answered.length && failed) throw failed.error;
    return answered;
  }

  /** Ask which answer is the best. Returns its column; null if `signal` is aborted first. */
  async choose(answered, signal) {
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve(null), { once: true });
      for (const column of answered) {
        const number = this.columns.indexOf(column) + 1;
        column.element.append(make("button", {
          type: "button",
          class: "quiet-button choose-button",
          onclick: () => resolve(column),
        }, t("Go on with answer {number}", { number })));
      }
      this.element.prepend(make("p", { class: "note" }, t("Choose the answer to go on with. The others stay as versions.")));
      this.element.querySelector(".choose-button").focus({ preventScroll: true });
    });
  }

  /** Store that the chosen answer is better than the others. Without consent, nothing is stored. */
  async prefer(chosen, ids) {
    const better = this.columns.indexOf(chosen);
    if (chosen.finish !== "stop") return; // it is not clear what the rest would have been
    for (const [index, column] of this.columns.entries()) {
      if (column === chosen || !ids.get(column) || !ids.get(chosen) || column.finish !== "stop" || column.text === chosen.text) continue;
      const [left, right] = index < better ? [column, chosen] : [chosen, column];
      const comparison = { left: { message_id: ids.get(left) }, right: { message_id: ids.get(right) }, verdict: right === chosen ? "right" : "left" };
      await api.addComparison(comparison).catch((error) => {
        if (error.code !== "forbidden") throw error;
      });
    }
  }

  /** The ids of the stored answers of a conversation, by column. A stopped answer is stored with a short delay. */
  async findIds(conversation, chosen) {
    for (const wait of [0, 100, 200, 400]) {
      if (wait) await new Promise((done) => setTimeout(done, wait));
      const { tree } = await api.conversationTree(conversation);
      const ids = this.#matchIds(tree);
      if (ids.has(chosen)) return ids;
    }
    return new Map();
  }

  #matchIds(tree) {
    const stored = tree.filter(({ role }) => role === "assistant").reverse(); // the newest first
    const ids = new Map();
    for (const column of this.columns) {
      const entry = stored.find(({ id, content }) => content === column.text && ![...ids.values()].includes(id));
      if (entry) ids.set(column, entry.id);
    }
    return ids;
  }
}

/** One request per answer. With a seed, each answer has its own. */
export function requestsOfChoices(request, number) {
  const { n: _, ...single } = request;
  return Array.from({ length: number }, (_, index) => ("seed" in single ? { ...single, seed: single.seed + index } : { ...single }));
}
