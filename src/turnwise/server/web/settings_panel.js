// The settings of a conversation or of one side of the playground: preset, model, scenario, system prompt, parameters.

import { Controls } from "./controls.js";
import { make } from "./dom.js";
import { language, t } from "./i18n.js";
import { PresetBar } from "./preset_bar.js";

export class SettingsPanel {
  /**
   * @param root element that gets the settings.
   * @param declaration answer of /v1/parameters.
   * @param models entries of /v1/models.
   * @param scenarios entries of /v1/scenarios.
   * @param settings { system, model, scenario, parameters }.
   * @param prefix of the ids of the elements.
   * @param limits largest values of fields on this page, by name.
   * @param without names of fields that the page does not show.
   * @param changed called with the settings after each change.
   */
  constructor(root, { declaration, models, scenarios, settings, prefix = "control", limits, without, changed }) {
    Object.assign(this, { models, prefix, changed });
    this.current = settings;
    this.presets = new PresetBar({
      prefix,
      specs: [...declaration.data, ...declaration.fields],
      read: () => this.current,
      apply: ({ system = this.current.system, parameters }) => this.#update({ system, parameters }, { isShown: false }),
    });
    const controls = make("div", { class: "control-groups" });
    this.model = this.#select("model", t("Model"), models.map(({ id }) => [id, id]), t("The model that answers."));
    this.scenario = this.#select("scenario", t("Scenario"), [["", t("none")], ...scenarios.map(toOption)],
      t("Answers of a prepared service, with its texts and documents."));
    this.scenario.hidden = !scenarios.length;
    root.replaceChildren(this.presets.element, this.model, this.scenario, this.#systemRow(), controls);
    this.controls = new Controls(controls, {
      declaration, prefix, limits, without,
      defaults: this.#defaults(),
      values: settings.parameters,
      changed: () => this.#update({ parameters: this.controls.values() }),
    });
    this.show(settings);
  }

  settings() {
    return { ...this.current, parameters: { ...this.current.parameters } };
  }

  /** Show the settings of another conversation. */
  show(settings) {
    this.current = { ...settings, model: this.models.some(({ id }) => id === settings.model) ? settings.model : this.models[0].id };
    this.controls.defaults = this.#defaults();
    this.controls.setValues(settings.parameters);
    this.current.parameters = this.controls.values();
    this.model.querySelector("select").value = this.current.model;
    this.scenario.querySelector("select").value = this.current.scenario ?? "";
    this.system.value = this.current.system;
    this.presets.show();
  }

  #defaults() {
    return this.models.find(({ id }) => id === this.current.model)?.chat_defaults ?? {};
  }

  #update(changes, { isShown = true } = {}) {
    const settings = { ...this.current, ...changes };
    if (isShown) this.current = settings;
    else this.show(settings);
    this.presets.show();
    this.changed(this.settings());
  }

  #select(name, label, options, help) {
    const id = `${this.prefix}-${name}`;
    const select = make("select", { id, "aria-describedby": `${id}-help` },
      ...options.map(([value, text]) => make("option", { value }, text)));
    select.addEventListener("change", () => this.#update({ [name]: select.value || null }, { isShown: false }));
    return make("div", { class: "control" },
      make("div", { class: "control-head" }, make("label", { for: id }, label)),
      select,
      make("p", { class: "control-help", id: `${id}-help` }, help),
    );
  }

  #systemRow() {
    const id = `${this.prefix}-system`;
    this.system = make("textarea", { id, rows: 3, dir: "auto", "aria-describedby": `${id}-help` });
    this.system.addEventListener("input", () => this.#update({ system: this.system.value }));
    return make("div", { class: "control" },
      make("div", { class: "control-head" }, make("label", { for: id }, t("System prompt"))),
      this.system,
      make("p", { class: "control-help", id: `${id}-help` }, t("Instructions that hold for the whole conversation.")),
    );
  }
}

function toOption({ id, title }) {
  return [id, title[language] ?? title.en ?? id];
}
