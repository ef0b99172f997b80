// The choice of a preset, and the buttons that save, delete, export and import presets.

import { showDialog } from "./dialog.js";
import { byId, make } from "./dom.js";
import { openFile, saveFile } from "./downloads.js";
import { t } from "./i18n.js";
import { describeValues } from "./parameter_values.js";
import { allPresets, deletePreset, exportPresets, importPresets, matchPreset, ownPresets, savePreset } from "./presets.js";

export class PresetBar {
  /**
   * @param prefix of the ids of its elements.
   * @param specs fields of requests, to check imported values.
   * @param read returns the present { system, parameters }.
   * @param apply called with the { system, parameters } of a chosen preset.
   */
  constructor({ prefix, specs, read, apply }) {
    Object.assign(this, { specs, read, apply });
    const button = (label, onclick) => make("button", { type: "button", class: "quiet-button", onclick }, label);
    this.select = make("select", { id: `${prefix}-preset`, "aria-describedby": `${prefix}-preset-values`, onchange: () => this.#choose() });
    this.values = make("p", { id: `${prefix}-preset-values`, class: "control-help" });
    this.deleteButton = button(t("Delete preset"), () => this.#delete());
    this.exportButton = button(t("Export"), () => saveFile("turnwise-presets.json", exportPresets(), "application/json"));
    this.element = make("div", { class: "control preset-bar" },
      make("label", { for: `${prefix}-preset` }, t("Preset")),
      this.select,
      this.values,
      make("div", { class: "preset-buttons" },
        button(t("Save as preset"), () => this.#save()), this.deleteButton, this.exportButton, button(t("Import"), () => this.#import())),
    );
  }

  /** Show the preset that the present values are those of. */
  show() {
    const current = matchPreset(this.read());
    const options = allPresets().map(({ name, isBuiltIn }) =>
      make("option", { value: name, selected: name === current?.name }, isBuiltIn ? t(name) : name));
    const none = Object.keys(this.read().parameters).length ? t("Own values") : t("Values of the model");
    this.select.replaceChildren(make("option", { value: "", selected: !current }, none), ...options);
    this.values.textContent = current ? describeValues(current.parameters) : "";
    this.deleteButton.hidden = !current || current.isBuiltIn;
    this.exportButton.hidden = !ownPresets().length;
  }

  #choose() {
    const preset = allPresets().find(({ name }) => name === this.select.value);
    this.apply(preset ? { system: preset.system, parameters: preset.parameters } : { parameters: {} });
    this.show();
  }

  async #save() {
    const name = make("input", { id: "preset-name", required: true, maxLength: 60, autocomplete: "off", dir: "auto" });
    const { system, parameters } = this.read();
    const withSystem = make("input", { id: "preset-system", type: "checkbox", class: "switch", checked: Boolean(system) });
    const isConfirmed = await showDialog({
      id: "save-preset",
      text: t("Save these values in this browser."),
      fields: [
        make("label", { for: "preset-name" }, t("Name")), name,
        ...(system ? [make("label", { class: "switch-label" }, withSystem, t("With the system prompt"))] : []),
      ],
      cancelLabel: t("Cancel"),
      confirmLabel: t("Save"),
    });
    if (!isConfirmed) return;
    const problem = savePreset({ name: name.value.trim(), system: withSystem.checked ? system : "", parameters });
    this.#report(problem || t("The preset is saved."));
  }

  #delete() {
    deletePreset(this.select.value);
    this.#report(t("The preset is deleted."));
    this.select.focus();
  }

  async #import() {
    const text = await openFile(".json,application/json");
    if (text === null) return;
    try {
      const number = importPresets(text, this.specs);
      this.#report(number === 1 ? t("1 preset is imported.") : t("{number} presets are imported.", { number }));
    } catch (error) {
      this.#report(error.message);
    }
  }

  #report(text) {
    this.show();
    this.values.textContent = text;
    byId("status").textContent = text;
  }
}
