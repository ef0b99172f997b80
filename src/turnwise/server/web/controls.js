// The request parameters of the settings, in the groups that the server publishes.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { createField } from "./parameter_fields.js";
import { valueProblem } from "./parameter_values.js";

const OPEN_GROUP = "basic"; // the others are folded

export class Controls {
  /**
   * @param root element that gets the fields.
   * @param declaration answer of /v1/parameters.
   * @param defaults the `chat_defaults` of the model.
   * @param values the values that the user has set, by name. Invalid ones are dropped.
   * @param prefix of the ids of the fields.
   * @param limits largest values of fields on this page, by name.
   * @param without names of fields that the page does not show.
   * @param changed called after each change.
   */
  constructor(root, { declaration, defaults, values = {}, prefix = "control", limits = {}, without = [], changed = () => {} }) {
    Object.assign(this, { root, defaults, prefix, changed });
    this.groups = declaration.groups;
    this.specs = [...declaration.data, ...declaration.fields]
      .filter(({ group, name }) => group && !without.includes(name))
      .map((spec) => ({ ...spec, maximum: limits[spec.name] ?? spec.maximum }));
    this.setValues(values);
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

  setValues(values) {
    this.overrides = {};
    for (const spec of this.specs) {
      const value = values[spec.name];
      if (value !== undefined && value !== null && !valueProblem(spec, value)) this.overrides[spec.name] = value;
    }
    this.#build();
  }

  #build() {
    const open = new Set([...this.root.querySelectorAll("details[open]")].map(({ dataset }) => dataset.group));
    const groups = this.groups.map((group) => this.#group(group, open)).filter(Boolean);
    this.root.replaceChildren(...groups);
  }

  #group({ name, title }, open) {
    const specs = this.specs.filter((spec) => spec.group === name);
    if (!specs.length) return null;
    const badge = make("span", { class: "group-badge" });
    const count = () => {
      const number = specs.filter((spec) => spec.name in this.overrides).length;
      badge.textContent = number ? t("{number} set", { number }) : "";
    };
    const fields = specs.map((spec) => this.#field(spec, count));
    count();
    if (name === OPEN_GROUP) return make("div", { class: "control-group" }, ...fields);
    const details = make("details", { class: "control-group", open: open.has(name) },
      make("summary", {}, t(title), badge), ...fields);
    details.dataset.group = name;
    return details;
  }

  #field(spec, count) {
    const fallback = this.defaults[spec.name] ?? (Array.isArray(spec.default) ? undefined : spec.default ?? spec.neutral);
    return createField(spec, {
      prefix: this.prefix,
      value: this.overrides[spec.name],
      fallback: spec.name === "n" ? 1 : fallback,
      changed: (value) => {
        if (value === undefined) delete this.overrides[spec.name];
        else this.overrides[spec.name] = value;
        count();
        this.changed();
      },
    });
  }
}
