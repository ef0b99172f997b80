// One side of the playground: its settings, which this browser keeps, and its name.

import { byId, make } from "./dom.js";
import { t } from "./i18n.js";
import { describeValues } from "./parameter_values.js";
import { matchPreset } from "./presets.js";
import { noSettings } from "./chat_settings.js";
import { SettingsPanel } from "./settings_panel.js";
import { storage } from "./storage.js";

const MAX_LABEL_CHARS = 40; // as in the server (core/comparisons.py)

export class PlaygroundSetup {
  /**
   * @param side "a" or "b".
   * @param options of the settings panel: declaration, models, scenarios.
   * @param model the model of a side without stored settings.
   */
  constructor(side, { model, ...options }) {
    this.side = side;
    const stored = storage.get(`playground.${side}`) ?? {};
    const settings = { ...noSettings(), model, ...stored.settings };
    this.name = make("input", { id: `${side}-name`, maxLength: MAX_LABEL_CHARS, value: stored.name ?? "", dir: "auto", autocomplete: "off" });
    this.name.addEventListener("input", () => this.#changed());
    const fields = make("div");
    const form = byId(`setup-${side}-form`);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.replaceChildren(
      make("div", { class: "control" }, make("label", { for: `${side}-name` }, t("Name in the scores")), this.name), fields);
    this.panel = new SettingsPanel(fields, { ...options, settings, prefix: side, without: ["n"], changed: () => this.#changed() });
    this.#changed();
  }

  settings() {
    return this.panel.settings();
  }

  /** The name of the person, else the preset. */
  get ownName() {
    const preset = matchPreset(this.settings());
    return this.name.value.trim() || (preset?.name ?? "");
  }

  /** The same in the language of the page. */
  get #shownName() {
    const preset = matchPreset(this.settings());
    return this.name.value.trim() || (preset?.isBuiltIn ? t(preset.name) : preset?.name ?? "");
  }

  get title() {
    return [this.side.toUpperCase(), this.settings().model, this.#shownName].filter(Boolean).join(" · ");
  }

  /** The label in the scores: letters, digits and a few signs. */
  get label() {
    return this.ownName.replace(/[^\p{L}\p{N}_.+-]+/gu, " ").trim().slice(0, MAX_LABEL_CHARS).trim();
  }

  /** Take over the settings of another side. */
  copyFrom(other) {
    this.name.value = other.name.value;
    this.panel.show(other.settings());
    this.#changed();
  }

  #changed() {
    const settings = this.settings();
    storage.set(`playground.${this.side}`, { name: this.name.value, settings });
    const parts = [settings.model, this.#shownName, settings.system && `“${settings.system.slice(0, 40)}”`, describeValues(settings.parameters)];
    byId(`setup-${this.side}-summary`).textContent = parts.filter(Boolean).join(" · ");
  }
}
