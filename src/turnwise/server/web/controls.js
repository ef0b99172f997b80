// The sampling panel, built from the parameters that the server lists.

import { byId, make } from "./dom.js";
import { storage } from "./storage.js";

const MAX_SLIDER_RANGE = 10; // wider ranges get a number input

export class Controls {
  /** `specs`: entries of /v1/parameters. `defaults`: the `chat_defaults` of the model. */
  constructor(specs, defaults) {
    this.specs = specs.filter((spec) => spec.show_in_page);
    this.overrides = {};
    const storedOverrides = storage.get("controls") ?? {};
    for (const spec of this.specs) if (isValid(spec, storedOverrides[spec.name])) this.overrides[spec.name] = storedOverrides[spec.name];
    this.useDefaults(defaults);
    byId("reset-controls").onclick = () => this.reset();
    byId("controls-form").onsubmit = (event) => event.preventDefault();
  }

  /** Set the defaults of another model. */
  useDefaults(defaults) {
    this.defaults = defaults;
    this.#build();
  }

  /** Parameters of a request: only those that the user has set. */
  values() {
    return { ...this.overrides };
  }

  reset() {
    this.overrides = {};
    this.#save();
    this.#build();
    byId("status").textContent = "Sampling parameters are reset to the defaults of the model.";
  }

  #build() {
    byId("controls-form").replaceChildren(...this.specs.map((spec) => this.#row(spec)));
    this.#save();
  }

  #row(spec) {
    const id = `control-${spec.name}`;
    const defaultValue = this.defaults[spec.name] ?? spec.default;
    const value = this.overrides[spec.name] ?? defaultValue;
    const slider = spec.type === "number" && spec.minimum !== null && spec.maximum !== null && spec.maximum - spec.minimum <= MAX_SLIDER_RANGE;
    const step = spec.type === "integer" ? 1 : slider ? 0.01 : "any";
    const input = make("input", { id, type: slider ? "range" : "number", "aria-describedby": `${id}-help` });
    input.step = step;
    if (spec.minimum !== null) input.min = spec.exclusive_minimum ? spec.minimum + step : spec.minimum;
    if (spec.maximum !== null && spec.maximum < Number.MAX_SAFE_INTEGER) input.max = spec.maximum;
    input.value = value ?? "";
    input.placeholder = defaultValue === null ? "unset" : String(defaultValue);
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
      const typedValue = input.value === "" && !input.validity.badInput ? undefined : Number(input.value);
      const isValidValue = input.validity.valid && (typedValue === undefined || isValid(spec, typedValue));
      problem.textContent = isValidValue ? "" : input.validationMessage || "This value is out of range.";
      if (slider) shown.textContent = input.value;
      if (!isValidValue || typedValue === undefined || typedValue === defaultValue) delete this.overrides[spec.name];
      else this.overrides[spec.name] = typedValue;
      row.classList.toggle("changed", spec.name in this.overrides);
      this.#save();
    });
    row.classList.toggle("changed", spec.name in this.overrides);
    return row;
  }

  #save() {
    storage.set("controls", this.overrides);
    const changed = Object.keys(this.overrides).length > 0;
    byId("reset-controls").disabled = !changed;
    byId("open-controls").classList.toggle("changed", changed);
  }
}

const label = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

function isValid(spec, value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return false;
  if (spec.type === "integer" && !Number.isSafeInteger(value)) return false;
  if (spec.minimum !== null && (spec.exclusive_minimum ? value <= spec.minimum : value < spec.minimum)) return false;
  return spec.maximum === null || value <= spec.maximum;
}
