// The sampling panel, built from what the server says of its parameters.

import { byId, make, memory } from "./dom.js";

const WIDEST_SLIDER = 10; // a range that is wider gets a number box

export class Controls {
  /** `specs` as served by /v1/parameters; `defaults` are the values that the model chats with. */
  constructor(specs, defaults) {
    this.specs = specs.filter((spec) => spec.show_in_page);
    this.chosen = {};
    const remembered = memory.get("controls") ?? {};
    for (const spec of this.specs) if (isGood(spec, remembered[spec.name])) this.chosen[spec.name] = remembered[spec.name];
    this.useDefaults(defaults);
    byId("reset-controls").onclick = () => this.reset();
    byId("controls-form").onsubmit = (event) => event.preventDefault();
  }

  /** Another model, other defaults. */
  useDefaults(defaults) {
    this.defaults = defaults;
    this.#build();
  }

  /** What a request carries: only what a person has set. */
  values() {
    return { ...this.chosen };
  }

  reset() {
    this.chosen = {};
    this.#keep();
    this.#build();
    byId("status").textContent = "Sampling is back to the model's own values.";
  }

  #build() {
    byId("controls-form").replaceChildren(...this.specs.map((spec) => this.#row(spec)));
    this.#keep();
  }

  #row(spec) {
    const id = `control-${spec.name}`;
    const usual = this.defaults[spec.name] ?? spec.default;
    const value = this.chosen[spec.name] ?? usual;
    const slider = spec.type === "number" && spec.minimum !== null && spec.maximum !== null && spec.maximum - spec.minimum <= WIDEST_SLIDER;
    const step = spec.type === "integer" ? 1 : slider ? 0.01 : "any";
    const input = make("input", { id, type: slider ? "range" : "number", "aria-describedby": `${id}-help` });
    input.step = step;
    if (spec.minimum !== null) input.min = spec.exclusive_minimum ? spec.minimum + step : spec.minimum;
    if (spec.maximum !== null && spec.maximum < Number.MAX_SAFE_INTEGER) input.max = spec.maximum;
    input.value = value ?? "";
    input.placeholder = usual === null ? "unset" : String(usual);
    const shown = make("output", { for: id }, slider ? String(value) : "");
    const problem = make("p", { class: "control-problem", role: "alert" });
    const row = make(
      "div",
      { class: "control" },
      make("div", { class: "control-head" }, make("label", { for: id }, label(spec.name)), shown),
      input,
      make("p", { class: "control-help", id: `${id}-help` }, spec.description),
      problem,
    );
    input.addEventListener("input", () => {
      const said = input.value === "" && !input.validity.badInput ? undefined : Number(input.value);
      const good = input.validity.valid && (said === undefined || isGood(spec, said));
      problem.textContent = good ? "" : input.validationMessage || "This value is out of range.";
      if (slider) shown.textContent = input.value;
      if (!good || said === undefined || said === usual) delete this.chosen[spec.name];
      else this.chosen[spec.name] = said;
      row.classList.toggle("changed", spec.name in this.chosen);
      this.#keep();
    });
    row.classList.toggle("changed", spec.name in this.chosen);
    return row;
  }

  #keep() {
    memory.set("controls", this.chosen);
    const changed = Object.keys(this.chosen).length > 0;
    byId("reset-controls").disabled = !changed;
    byId("open-controls").classList.toggle("changed", changed);
  }
}

const label = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

function isGood(spec, value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return false;
  if (spec.type === "integer" && !Number.isSafeInteger(value)) return false;
  if (spec.minimum !== null && (spec.exclusive_minimum ? value <= spec.minimum : value < spec.minimum)) return false;
  return spec.maximum === null || value <= spec.maximum;
}
