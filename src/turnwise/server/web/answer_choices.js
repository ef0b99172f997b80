// Several answers to one message, streamed side by side. The chosen one goes on; the others stay as branches.

import * as api from "./api.js";
import { AnswerColumn } from "./answer_column.js";
import { conversationTree } from "./conversations_api.js";
import { make } from "./dom.js";
import { t } from "./i18n.js";
import { RunningAnswer } from "./running_answer.js";

export const MAX_CHOICES = 4; // a browser opens six connections to a server, and a stream takes one

export class AnswerChoices {
  #running; // one per column

  /** `number` of the answers. */
  constructor(number) {
    this.requests = []; // one body of a chat completion per column
    this.isChoosing = false;
    this.columns = Array.from({ length: number }, (_, index) => new AnswerColumn(t("Answer {number}", { number: index + 1 })));
    this.#running = this.columns.map(() => new RunningAnswer());
    this.element = make("li", { class: "message choices" }, make("div", { class: "answer-columns" }, ...this.columns.map(({ element }) => element)));
  }

  /** Stream the answers to `requests`. Returns those that have text; throws if there is none because of an error. */
  async stream(requests) {
    this.requests = requests;
    await Promise.all(this.columns.map((column, index) => column.stream(this.#running[index].send(requests[index]))));
    const answered = this.columns.filter(({ text }) => text);
    const failed = this.columns.find(({ error }) => error);
    if (!answered.length && failed) throw failed.error;
    return answered;
  }

  /** Stop all answers; while the user chooses, end the choice. */
  stop() {
    if (this.isChoosing) this.#endChoice();
    else for (const running of this.#running) running.stop();
  }

  /** Leave the answers. Those of a stored conversation go on in the server. */
  leave() {
    if (this.isChoosing) this.#endChoice();
    else for (const running of this.#running) running.leave();
  }

  #endChoice = () => {};

  /** Ask which answer is the best. Returns its column; null if the choice is stopped or left. */
  async choose(answered) {
    this.isChoosing = true;
    return new Promise((resolve) => {
      this.#endChoice = () => resolve(null);
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
      const { tree } = await conversationTree(conversation);
      const ids = this.#matchIds(tree);
      if (ids.has(chosen)) return ids;
    }
    return new Map();
  }

  #matchIds(tree) {
    const stored = tree.filter(({ role }) => role === "assistant").reverse(); // the newest first
    const ids = new Map();
    for (const column of this.columns) {
      const isSame = ({ content }) => (column.finish === "cancelled" ? content.startsWith(column.text) : content === column.text);
      const entry = stored.find((message) => isSame(message) && ![...ids.values()].includes(message.id));
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
