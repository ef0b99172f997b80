// An answer that is being generated. That of a stored conversation goes on in the server when the page goes away.

import * as api from "./api.js";
import { attachToAnswer, stopAnswer } from "./conversations_api.js";

const RECONNECT_MS = [300, 1000, 2000, 4000, 8000]; // pauses before each attempt to attach again
const STOP_ATTEMPTS = 5;
const STOP_RETRY_MS = 200;

/** A chunk that says: what came before comes again. */
export const RESTART = { isRestart: true, choices: [] };

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const isLost = ({ status, code }) => status === 0 && !code; // no answer of the server

export class RunningAnswer {
  #controller = new AbortController();

  /**
   * @param conversation id of the conversation; null if nothing is stored.
   * @param id id of an answer that is being generated; without it, a new one.
   */
  constructor(conversation = null, id = newId()) {
    Object.assign(this, { conversation, id, isStopped: false, hasEnded: false });
  }

  /** Yield the chunks of a new answer. After a lost connection it attaches again, and yields `RESTART` first. */
  async *send(request) {
    const isBackground = request.conversation_id !== undefined;
    this.conversation = request.conversation_id ?? null;
    let hasStarted = false;
    try {
      for await (const chunk of api.complete(isBackground ? { ...request, background: true } : request, this.#controller.signal, this.id)) {
        hasStarted = true;
        yield chunk;
      }
    } catch (error) {
      if (!isBackground || !hasStarted || !isLost(error) || this.isStopped) throw this.#asAbort(error);
      yield* this.attach(error);
    } finally {
      this.hasEnded = true;
    }
  }

  /** Yield the chunks of an answer that is being generated, after `RESTART`. Ends without a finish reason if it is over. */
  async *attach(lost = null) {
    for (const milliseconds of lost ? RECONNECT_MS : [0, ...RECONNECT_MS]) {
      await pause(milliseconds);
      try {
        if (lost && !(await api.conversation(this.conversation)).running.some(({ id }) => id === this.id)) return;
        const chunks = attachToAnswer(this.conversation, this.id, this.#controller.signal);
        yield RESTART;
        yield* chunks;
        return;
      } catch (error) {
        if (error.status === 404) return; // it has ended meanwhile
        if (!isLost(error) || this.isStopped) throw this.#asAbort(error);
        lost = error;
      }
    }
    throw lost;
  }

  /** Stop generating, at once on this page. */
  async stop() {
    this.isStopped = true;
    this.#stopInServer();
    this.#controller.abort();
  }

  /** Leave the answer. A stored one goes on in the server. */
  leave() {
    this.#controller.abort();
  }

  /** The request may still be on its way: then the server does not know the answer yet. */
  async #stopInServer() {
    if (!this.conversation) return;
    for (let attempt = 0; attempt < STOP_ATTEMPTS && !this.hasStopped; attempt += 1) {
      this.hasStopped = await stopAnswer(this.conversation, this.id).then(() => true, ({ status }) => status !== 404);
      if (!this.hasStopped) await pause(STOP_RETRY_MS);
    }
  }

  #asAbort(error) {
    const isStop = this.isStopped || error.code === "answer_stopped"; // on another page
    return isStop ? new DOMException("The answer was stopped.", "AbortError") : error;
  }
}

/** A random id; `crypto.randomUUID` exists on https pages only. */
function newId() {
  return `page-${[...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
