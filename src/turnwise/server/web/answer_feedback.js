// What the person at this page thinks of the answers of a conversation.

import * as api from "./api.js";
import { byId } from "./dom.js";
import { t } from "./i18n.js";

export class AnswerFeedback {
  #byMessage = new Map(); // message id → { rating, tags, correction, ids, asksReasons }

  /** `changed()` is called after each change, `failed(error, retry)` if the server does not accept it. */
  constructor(changed, failed) {
    Object.assign(this, { changed, failed });
    this.handlers = {
      rate: (id, rating) => this.#rate(id, rating),
      explain: (id, tags) => this.#add(id, { rating: "down", tags }, { tags, asksReasons: false }, t("The reasons are saved.")),
      closeReasons: (id) => this.#set(id, { asksReasons: false }),
      correct: (id, correction) => this.#add(id, { correction }, { correction }, t("The correction is saved.")),
    };
  }

  of(id) {
    const opinion = this.#byMessage.get(id);
    return opinion && { rating: opinion.rating, tags: opinion.tags, correction: opinion.correction, asksReasons: opinion.asksReasons };
  }

  /** Load the feedback on a conversation. Without it, the answers look unrated. */
  async load(conversation) {
    this.#byMessage.clear();
    const entries = await api.conversationFeedback(conversation).catch(() => []);
    for (const { id, message_id: message, rating, correction, tags, role, user } of entries) {
      if (role !== "user" || user !== null) continue; // of somebody else
      const opinion = this.#opinion(message);
      opinion.ids.push(id);
      if (rating) Object.assign(opinion, { rating, tags });
      opinion.correction = correction ?? opinion.correction;
    }
  }

  #opinion(message) {
    if (!this.#byMessage.has(message)) this.#byMessage.set(message, { rating: null, tags: [], ids: [], asksReasons: false });
    return this.#byMessage.get(message);
  }

  #set(message, values) {
    Object.assign(this.#opinion(message), values);
    this.changed();
  }

  async #rate(message, rating) {
    if (this.#opinion(message).rating === rating) await this.#withdraw(message, rating);
    else await this.#add(message, { rating }, { rating, tags: [], asksReasons: rating === "down" }, t("Rated."));
  }

  async #add(message, content, values, report) {
    try {
      const { id } = await api.addFeedback({ message_id: message, ...content });
      this.#opinion(message).ids.push(id);
      this.#set(message, values);
      byId("status").textContent = report;
    } catch (error) {
      this.failed(error, () => this.#add(message, content, values, report));
    }
  }

  /** Delete all feedback on the answer: without the last rating, an earlier one would count again. */
  async #withdraw(message, rating) {
    try {
      const { ids } = this.#opinion(message);
      while (ids.length) {
        await api.deleteFeedback(ids.at(-1)).catch((error) => {
          if (error.status !== 404) throw error;
        });
        ids.pop();
      }
      this.#byMessage.delete(message);
      this.changed();
      byId("status").textContent = t("The feedback is deleted.");
    } catch (error) {
      this.failed(error, () => this.#rate(message, rating));
    }
  }
}
