// The tokens of an answer, marked by their probability: the less likely, the stronger the colour and the thicker the line.

import { make } from "./dom.js";
import { t } from "./i18n.js";

const LEVELS = [0.9, 0.5, 0.2, 0.05, 0]; // least probability of each level
const PAGE_STEP = 10;

/** A probability in percent, with enough digits to tell small ones apart. */
export function percent(probability) {
  const value = probability * 100;
  if (value > 0 && value < 0.01) return "< 0.01 %";
  return `${value.toFixed(value < 1 ? 2 : value < 99.95 ? 1 : 0)} %`;
}

/** The text of a token, with visible white space; a name for one that is only a part of a character. */
export function tokenLabel({ token, bytes }) {
  if (token.includes("\ufffd") && bytes) return t("bytes {bytes}", { bytes: bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ") });
  return token.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣");
}

/** The texts of tokens that concatenate to the answer: a character belongs to the token that completes it. */
export function tokenTexts(tokens) {
  const decoder = new TextDecoder();
  return tokens.map(({ token, bytes }) => (bytes ? decoder.decode(new Uint8Array(bytes), { stream: true }) : token));
}

const level = (probability) => LEVELS.findIndex((least) => probability >= least);

/** Which mark stands for which probability. */
export function legend() {
  const names = ["≥ 90 %", "≥ 50 %", "≥ 20 %", "≥ 5 %", "< 5 %"];
  return make("p", { class: "token-legend" }, `${t("Probability of each word:")} `,
    ...names.flatMap((name, i) => [make("span", { class: `token level-${i}` }, name), " "]));
}

export class TokenView {
  /** `tokens`: those of the answer. `hasEnd`: the answer ended by itself, so that its end is a place too. `select(position)`. */
  constructor(tokens, hasEnd, select) {
    this.select = select;
    this.position = -1;
    const texts = tokenTexts(tokens);
    this.options = tokens.map(({ logprob }, i) => {
      const probability = Math.exp(logprob);
      return this.#option(i, texts[i] || "·", `level-${level(probability)}`, `${tokenLabel(tokens[i])}, ${percent(probability)}`);
    });
    if (hasEnd) this.options.push(this.#option(tokens.length, "⏹", "level-0 token-end", t("end of the answer")));
    this.element = make("div", { class: "token-view", role: "listbox", "aria-label": t("Words of the answer"), dir: "auto", onkeydown: (event) => this.#onKey(event) }, ...this.options);
  }

  /** Mark a place as selected. `focus` also moves the focus there. */
  show(position, focus = false) {
    const place = Math.max(0, Math.min(position, this.options.length - 1));
    const before = this.options[this.position];
    before?.setAttribute("aria-selected", "false");
    if (before) before.tabIndex = -1;
    this.position = place;
    const option = this.options[place];
    option.setAttribute("aria-selected", "true");
    option.tabIndex = 0;
    option.scrollIntoView({ block: "nearest" });
    if (focus) option.focus({ preventScroll: true });
    return place;
  }

  #option(position, text, classes, label) {
    return make("span", {
      class: `token ${classes}`, role: "option", tabIndex: -1, "aria-selected": "false", "aria-label": label, title: label,
      onclick: () => this.#go(position),
    }, text);
  }

  #go(position) {
    this.select(this.show(position, true));
  }

  #onKey(event) {
    const forward = getComputedStyle(this.element).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const steps = {
      ArrowLeft: forward === "ArrowLeft" ? 1 : -1, ArrowRight: forward === "ArrowRight" ? 1 : -1,
      ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE_STEP, PageDown: PAGE_STEP, Home: -Infinity, End: Infinity,
    };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#go(Math.max(0, Math.min(this.position + steps[event.key], this.options.length - 1)));
  }
}
