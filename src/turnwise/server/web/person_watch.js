// Follows a conversation that a person has taken over, until the model answers again.

import * as api from "./api.js";

const WAIT_SECONDS = 25;
const RETRY_MS = 3000;

export class PersonWatch {
  /** `onChange(id)` is called when the conversation has new messages; it returns a promise. */
  constructor(onChange) {
    this.onChange = onChange;
    this.controller = null;
    this.id = null;
  }

  /** Follow the conversation `id`. Does nothing if it is followed already. */
  start(id) {
    if (this.id === id) return;
    this.stop();
    this.id = id;
    this.controller = new AbortController();
    this.#poll(id, this.controller.signal);
  }

  stop() {
    this.controller?.abort();
    this.controller = this.id = null;
  }

  async #poll(id, signal) {
    let revision;
    while (!signal.aborted) {
      try {
        const handoff = await api.conversationHandoff(id, { after: revision, wait: revision === undefined ? 0 : WAIT_SECONDS }, signal);
        if (signal.aborted) return;
        if (handoff.revision !== revision) await this.onChange(id);
        revision = handoff.revision;
        if (handoff.speaker !== "model") continue;
        if (this.id === id) this.stop();
        return;
      } catch (error) {
        if (error.name === "AbortError" || signal.aborted) return;
        if (error.status === 404 || error.status === 401) {
          if (this.id === id) this.stop();
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }
}
