// The panel "Why these words?": the tokens of an answer, the alternatives at each place, and going on from another one.

import * as api from "./api.js";
import { answerOrigin } from "./answer_origin.js";
import { BeamTree } from "./beam_tree.js";
import { byId, copy, iconButton, make } from "./dom.js";
import { t } from "./i18n.js";
import { bars, reasonText, table, valueOf } from "./token_bars.js";
import { baseOf, redraw } from "./token_math.js";
import { TokenSliders } from "./token_sliders.js";
import { tabs } from "./token_tabs.js";
import { TokenView, legend, percent, tokenLabel } from "./token_view.js";

const TOP = 50;
const DELAY = 80; // milliseconds: a held arrow key sends no request for the places that it passes
const MODEL_DECISIONS = ["generate"]; // of the service path, in which the model chose the words

export class TokenPanel {
  /**
   * `context`: the `message`, the `request` before it, its `sampling` parameters, the `place` to open, and the functions
   * `closed()`, `moved({ at, ids })` and `steer({ tokens, sampling, at })`.
   */
  constructor(context) {
    Object.assign(this, { context, at: 0, ids: [], distribution: null, chosen: null });
    this.abort = new AbortController();
    this.cache = new Map();
    this.timer = 0;
    this.sliders = new TokenSliders(() => this.#paintBars());
    this.parts = Object.fromEntries(["notes", "answer", "heading", "failure", "bars", "precision", "actions", "table", "beams", "attention", "origin"].map((name) => [name, make("div", {})]));
    const { parts } = this;
    parts.actions.className = "token-actions token-steer";
    const alternatives = make("div", {}, parts.bars, parts.actions, this.sliders.element, parts.precision, parts.table, parts.beams);
    parts.heading = make("h3", { class: "token-heading", "aria-live": "polite" });
    this.element = make("aside", { id: "token-panel", class: "token-panel", "aria-label": t("Why these words?"), onkeydown: (event) => this.#onKey(event) },
      make("header", { class: "token-panel-head" }, make("h2", {}, t("Why these words?")), iconButton("close", t("Close"), () => this.context.closed())),
      parts.notes, parts.answer, parts.heading, parts.failure,
      tabs("token", [[t("Alternatives"), alternatives], [t("Attention"), parts.attention, () => this.#showAttention()]]),
      alternatives, parts.attention, parts.origin,
    );
  }

  async open() {
    const { request, message, place } = this.context;
    await addStyles();
    if (this.abort.signal.aborted) return; // closed meanwhile
    document.body.append(this.element);
    byId("status").textContent = t("The answer is being scored.");
    const { sampling_preset: _, ...prompt } = request;
    this.scored = await api.answerTokens({ ...prompt, answer: message.content }, this.abort.signal);
    byId("status").textContent = "";
    const { tokens } = this.scored;
    this.view = new TokenView(tokens, message.finish === "stop", (position) => this.#move(position, []));
    this.parts.notes.replaceChildren(...this.#notes().map((text) => make("p", { class: "token-note" }, text)));
    this.parts.answer.replaceChildren(legend(), this.view.element);
    this.beams = new BeamTree(() => this.#beamRequest(), (ids) => this.#takeBeam(ids));
    this.parts.beams.replaceChildren(this.beams.element);
    this.parts.origin.replaceChildren(make("h3", {}, t("How this answer came about")), answerOrigin(message.meta, this.scored));
    const at = this.view.show(place.at ?? 0, true);
    this.#move(at, place.ids ?? []);
  }

  remove() {
    this.abort.abort();
    this.attention?.abort.abort();
    clearTimeout(this.timer);
    this.element.remove();
  }

  /** What the reader should know about the figures. */
  #notes() {
    const { meta = {} } = this.context.message;
    const notes = [];
    if (meta.weights && this.scored.weights && meta.weights !== this.scored.weights) {
      notes.push(t("{version} gave this answer; the figures are those of {present}, which serves now.", { version: meta.version, present: this.scored.version }));
    } else if (meta.model && meta.model !== this.scored.model) {
      notes.push(t("{version} gave this answer; the figures are those of {present}, which serves now.", { version: meta.model, present: this.scored.model }));
    }
    if (meta.service && !MODEL_DECISIONS.includes(meta.service.decision.split(":")[0])) {
      notes.push(t("The model did not choose these words. The figures say how likely it finds them."));
    } else if (meta.service) {
      notes.push(t("A scenario answered, with instructions of its own. The figures are those of the model without them."));
    }
    notes.push(t("The text was divided into tokens again and scored by the model as it is now."));
    return notes;
  }

  /** Go to a place, after which tokens with these ids may be chosen instead of those of the answer. */
  #move(at, ids) {
    Object.assign(this, { at, ids });
    this.context.moved({ at, ids });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#load(), DELAY);
  }

  /** The tokens before the place whose alternatives are shown: of a path, the last token is still open. */
  #before() {
    return [...this.scored.tokens.slice(0, this.at).map(({ id }) => id), ...this.ids.slice(0, -1)];
  }

  async #load() {
    const tokens = this.#before();
    const original = this.scored.tokens[this.at];
    this.chosen = this.ids.at(-1) ?? original?.id ?? null;
    const key = JSON.stringify([tokens, this.chosen]);
    const isLeft = () => key !== JSON.stringify([this.#before(), this.ids.at(-1) ?? this.scored.tokens[this.at]?.id ?? null]);
    try {
      if (!this.cache.has(key)) {
        const place = tokens.length ? { answer_tokens: tokens } : {};
        const known = this.chosen === null ? {} : { token_ids: [this.chosen] };
        this.cache.set(key, await api.nextToken({ ...this.context.request, ...this.context.sampling, ...place, ...known, top: TOP }, this.abort.signal));
      }
    } catch (error) {
      if (isLeft()) return;
      this.distribution = null;
      for (const part of ["bars", "actions", "table"]) this.parts[part].replaceChildren();
      this.#showError(error);
      return;
    }
    if (isLeft()) return;
    this.parts.failure.replaceChildren();
    this.distribution = this.cache.get(key);
    this.chosen ??= this.distribution.tokens.find(({ ends_answer: ends }) => ends)?.id ?? null;
    this.sliders.show(this.distribution);
    this.#paintBars();
    this.parts.table.replaceChildren(make("details", {}, make("summary", {}, t("As a table, with every stage")), table(this.distribution)));
    this.element.dataset.place = key;
    if (!this.parts.attention.hidden) this.#showAttention();
  }

  /** Show what the model read at the present place; the view is loaded when it is first needed. */
  async #showAttention() {
    const { AttentionView } = await import("./attention_view.js");
    if (this.abort.signal.aborted || !this.distribution) return; // closed, or shown when the place is loaded
    this.attention ??= new AttentionView(() => this.#placeRequest());
    this.parts.attention.replaceChildren(this.attention.element);
    this.attention.show();
  }

  #paintBars() {
    const { distribution } = this;
    if (!distribution) return;
    const focused = this.parts.bars.contains(document.activeElement);
    const after = this.sliders.values ? this.#whatIf(distribution) : afterStages(distribution);
    const chosen = distribution.tokens.find(({ id }) => id === this.chosen);
    this.parts.heading.textContent = this.#headingText(chosen);
    this.parts.bars.replaceChildren(
      make("p", { class: "token-key" }, make("span", { class: "token-bar is-before" }), ` ${t("by the model")} `, make("span", { class: "token-bar is-after" }), ` ${t("after sampling")}`),
      bars(distribution.tokens, after, this.chosen, ({ id }) => this.#choose(id)),
      make("p", { class: "token-note" }, t("All others: {before} by the model.", { before: percent(distribution.rest) })),
    );
    if (focused) this.parts.bars.querySelector("[aria-pressed=true]")?.focus({ preventScroll: true });
    this.#paintActions(chosen);
  }

  #headingText(chosen) {
    const place = t("Place {number} of {all}", { number: this.at + this.ids.slice(0, -1).length + 1, all: this.scored.tokens.length });
    const rank = chosen ? `: ${tokenLabel(chosen)} – ${t("rank {rank}", { rank: chosen.rank })}` : "";
    return place + rank;
  }

  #choose(id) {
    this.#move(this.at, [...this.ids.slice(0, -1), id]);
  }

  #paintActions(chosen) {
    const isEnd = chosen?.ends_answer ?? true;
    const text = chosen ? tokenLabel(chosen) : "";
    const steer = make("button", { type: "button", class: "primary-button", disabled: isEnd, onclick: () => this.#steer() }, t("Continue from here with “{token}”", { token: text }));
    const further = make("button", { type: "button", class: "quiet-button", disabled: isEnd, onclick: () => this.#lookFurther() }, t("Look one word further"));
    const link = iconButton("copy", t("Copy the link to this place"), () => copy(location.href, link));
    this.parts.actions.replaceChildren(steer, further, link);
  }

  #steer() {
    const tokens = [...this.#before(), this.chosen];
    this.context.steer({ tokens, sampling: { ...this.context.sampling, ...this.sliders.values }, at: this.at });
  }

  /** Keep the chosen token, and show what may follow it. */
  async #lookFurther() {
    const chosen = [...this.ids.slice(0, -1), this.chosen];
    const follows = this.scored.tokens[this.at + chosen.length - 1]?.id === this.chosen && chosen.every((id, i) => this.scored.tokens[this.at + i]?.id === id);
    if (follows && this.at + chosen.length < this.view.options.length) return this.#move(this.view.show(this.at + chosen.length), []);
    const { at, ids } = this;
    const tokens = [...this.#before(), this.chosen];
    try {
      const { tokens: next } = await api.nextToken({ ...this.context.request, ...this.context.sampling, answer_tokens: tokens, top: 1 }, this.abort.signal);
      if (this.at === at && this.ids === ids) this.#move(at, [...chosen, next[0].id]); // else the user has gone on
    } catch (error) {
      this.#showError(error);
    }
  }

  #showError(error) {
    if (error.name !== "AbortError") this.parts.failure.replaceChildren(make("p", { class: "error", role: "alert" }, error.message));
  }

  #whatIf(distribution) {
    const base = baseOf(distribution);
    const { probabilities, removedBy, isExact } = redraw(base, this.sliders.values);
    const notes = [isExact
      ? t("Computed in this page; exact.")
      : t("Computed in this page. Approximate: the tokens that are not listed count as equally likely.")];
    if (base.skipped.length) notes.push(t("Left out: {stages}.", { stages: base.skipped.join(", ") }));
    this.parts.precision.replaceChildren(make("p", { class: "token-note", role: "status" }, notes.join(" ")));
    return probabilities.map((probability, i) => {
      const name = removedBy[i];
      if (name === "") return { ...afterStages(distribution)[i] };
      return { probability, removedBy: name, reason: name ? reasonText(name, this.sliders.values[name]) : "" };
    });
  }

  #beamRequest() {
    this.searched = { at: this.at, ids: this.ids.slice(0, -1) };
    return this.#placeRequest();
  }

  /** The messages and the answer up to the present place, without sampling parameters. */
  #placeRequest() {
    const { sampling_preset: _, ...prompt } = this.context.request;
    const tokens = this.#before();
    return { ...prompt, ...(tokens.length ? { answer_tokens: tokens } : {}) };
  }

  #takeBeam(ids) {
    const { at, ids: before } = this.searched;
    this.#move(this.view.show(at), [...before, ...ids]);
  }

  #onKey(event) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    this.context.closed();
  }
}

/** The probabilities of the server after its last stage. */
function afterStages({ stages, tokens }) {
  return tokens.map((token) => ({
    probability: token.probabilities.at(-1) ?? token.probability,
    removedBy: token.removed_by,
    reason: token.removed_by ? reasonText(token.removed_by, valueOf(stages, token.removed_by), token.reason) : "",
  }));
}

let styles = null; // promise of the style sheet

/** Load the style sheet once; after a failure, again at the next call. */
function addStyles() {
  styles ??= new Promise((done, fail) => {
    const link = make("link", { id: "token-styles", rel: "stylesheet", href: "/assets/token_panel.css" });
    link.addEventListener("load", done, { once: true });
    link.addEventListener("error", () => {
      styles = null;
      link.remove();
      fail(new Error(t("The server does not answer. Is it still running?")));
    }, { once: true });
    document.head.append(link);
  });
  return styles;
}
