// The sliders of the panel: they redraw the bars from the probabilities that the page has, without a request.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { SLIDERS, valuesOf } from "./token_math.js";

export class TokenSliders {
  /** `changed()` is called after a slider has moved. */
  constructor(changed) {
    this.changed = changed;
    this.values = null; // those that the user has set; null: those of the request
    this.base = {};
    this.inputs = new Map();
    this.reset = make("button", { type: "button", class: "quiet-button", onclick: () => this.#reset() }, t("Back to the values of the answer"));
    this.element = make("fieldset", { class: "token-sliders" }, make("legend", {}, t("What if …")), ...SLIDERS.map((slider) => this.#row(slider)), this.reset);
  }

  /** Set the values that the server has used for the present place. */
  show(distribution) {
    this.base = valuesOf(distribution);
    this.#paint();
  }

  #row({ name, label, maximum, step }) {
    const id = `token-slider-${name}`;
    const input = make("input", { id, type: "range", min: "0", max: String(maximum), step: String(step), oninput: () => this.#input(name, input) });
    const output = make("output", { for: id });
    this.inputs.set(name, { input, output });
    return make("div", { class: "token-slider" }, make("label", { for: id }, t(label)), input, output);
  }

  #input(name, input) {
    this.values = { ...this.base, ...this.values, [name]: Number(input.value) };
    this.#paint();
    this.changed();
  }

  #reset() {
    this.values = null;
    this.#paint();
    this.changed();
  }

  #paint() {
    for (const { name } of SLIDERS) {
      const { input, output } = this.inputs.get(name);
      const value = this.values?.[name] ?? this.base[name];
      input.value = String(value);
      output.textContent = String(value);
    }
    this.reset.disabled = this.values === null;
  }
}
