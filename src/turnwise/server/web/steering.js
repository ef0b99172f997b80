// Opens the panel "Why these words?" and links to a place in an answer. The panel is loaded when it is first needed.

import * as api from "./api.js";
import { byId } from "./dom.js";

const WIDE = "(min-width: 1101px)"; // the panel is beside the conversation, not above it

/** The id of the conversation in the fragment of the address, which may also have a place in an answer. */
export const conversationOfHash = (hash = location.hash) => hash.slice(1).split("?")[0];

/** The place in the fragment `#CONVERSATION?message=ID&at=POSITION&ids=1,2`; null without one. */
export function placeOfHash(hash) {
  const search = new URLSearchParams(hash.split("?")[1] ?? "");
  const [at, ids] = [Number(search.get("at") ?? 0), (search.get("ids") ?? "").split(",").filter(Boolean).map(Number)];
  const isValid = [at, ...ids].every((number) => Number.isSafeInteger(number) && number >= 0);
  return search.get("message") && isValid ? { message: search.get("message"), at, ids } : null;
}

export class Steering {
  /**
   * `page`: its `state`, the chosen `model()`, `messages(index)` for a request before a message, the `sampling()` parameters
   * that the user has set, `steer(index, { tokens, sampling })`, `showBranch(id)` and `failed(error, retry)`.
   */
  constructor(page) {
    this.page = page;
    this.panel = null;
    this.opening = 0;
  }

  /** Show the tokens of an answer, from a place on. */
  async open(index, place = {}) {
    const { state } = this.page;
    const message = state.messages[index];
    if (state.running || state.isOpening || message?.role !== "assistant" || !message.content) return;
    this.close();
    const opening = (this.opening += 1);
    const opener = document.activeElement;
    try {
      const [{ TokenPanel }, models] = await Promise.all([import("./token_panel.js"), api.models()]);
      if (opening !== this.opening) return;
      const served = models.data.map(({ id }) => id);
      const model = served.includes(message.meta?.version) ? message.meta.version : this.page.model();
      this.panel = new TokenPanel({
        message,
        request: { model, messages: this.page.messages(index), sampling_preset: "chat" },
        sampling: knownSampling(message.meta?.sampling ?? this.page.sampling()),
        place,
        closed: () => this.close(opener),
        moved: (place) => this.#link(message.id, place),
        steer: (answer) => this.#steer(index, message, answer),
      });
      await this.panel.open();
    } catch (error) {
      if (opening !== this.opening) return;
      this.close();
      this.page.failed(error, () => this.open(index, place));
    }
  }

  close(opener = null) {
    this.opening += 1;
    if (!this.panel) return;
    this.panel.remove();
    this.panel = null;
    this.#link(null);
    if (opener?.isConnected) opener.focus({ preventScroll: true });
    else if (document.activeElement === document.body) byId("prompt").focus({ preventScroll: true });
  }

  /** Open the place that a fragment names, also in another branch of the open conversation. */
  async openHash(hash) {
    const place = placeOfHash(hash);
    const { state } = this.page;
    if (!place || !state.conversation) return;
    const index = state.messages.findIndex(({ id }) => id === place.message);
    if (index >= 0) return this.open(index, place);
    await this.page.showBranch(place.message);
    const moved = state.messages.findIndex(({ id }) => id === place.message);
    if (moved >= 0) await this.open(moved, place);
  }

  /** Alt+W opens the panel for the last answer. Returns whether the key was used. */
  handleKey(event) {
    if (!event.altKey || event.ctrlKey || event.metaKey || event.code !== "KeyW") return false;
    event.preventDefault();
    if (this.panel) this.close();
    else this.open(this.page.state.messages.findLastIndex(({ role }) => role === "assistant"));
    return true;
  }

  /** Continue from a place of the answer `message`, unless another one is shown by now. */
  async #steer(index, message, { tokens, sampling, at }) {
    const { running, isOpening, messages } = this.page.state;
    if (running || isOpening || messages[index]?.id !== message.id || messages[index].content !== message.content) return;
    this.close();
    await this.page.steer(index, { tokens, sampling });
    if (matchMedia(WIDE).matches && this.page.state.messages.length === index + 1) await this.open(index, { at, ids: [] });
  }

  #link(message, place = {}) {
    const { conversation } = this.page.state;
    if (!conversation) return;
    const search = message ? `?${new URLSearchParams({ message, at: place.at, ...(place.ids.length ? { ids: place.ids.join() } : {}) })}` : "";
    history.replaceState(null, "", `#${conversation.id}${search}`);
  }
}

/** Parameters that change a distribution; the others only matter when tokens are drawn. */
function knownSampling(sampling) {
  const { max_tokens, max_completion_tokens, seed, stop, logprobs, top_logprobs, num_beams, penalty_alpha, ...rest } = sampling;
  return rest;
}
