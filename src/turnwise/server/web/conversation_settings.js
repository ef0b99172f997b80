// The settings of the open conversation: the panel, the choice of the model above the chat, and where they are kept.

import { MAX_CHOICES } from "./answer_choices.js";
import * as api from "./api.js";
import { conversationSettings, discardSettings, keepNewSettings, newSettings, noSettings, saveSettings } from "./chat_settings.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";
import { SettingsPanel } from "./settings_panel.js";

export class ConversationSettings {
  #id = null; // of the open conversation; null for a new one

  /** Load what the server offers, and show the settings of a new conversation. */
  static async open() {
    const [models, declaration, scenarios] = await Promise.all([api.models(), api.parameters(), api.scenarios()]);
    const served = models.data.filter(({ task, version_of: versionOf }) => task === "chat" && !versionOf);
    return new ConversationSettings(served, models.default, declaration, scenarios, newSettings());
  }

  constructor(models, defaultModel, declaration, scenarios, settings) {
    Object.assign(this, { models, defaultModel, declaration });
    this.panel = new SettingsPanel(byId("controls-form"), {
      declaration, models, scenarios, settings: this.#withServedModel(settings), limits: { n: MAX_CHOICES },
      changed: (changed) => this.#keep(changed),
    });
    byId("reset-controls").onclick = () => this.#reset();
    byId("controls-form").onsubmit = (event) => event.preventDefault();
    this.#showState();
  }

  get model() {
    return this.panel.settings().model;
  }

  /** The settings of a request, and the number of answers to choose from. */
  forRequest() {
    const { parameters: { n: numAnswers = 1, ...parameters }, ...settings } = this.panel.settings();
    return { settings: { ...settings, parameters }, numAnswers };
  }

  /** All settings, as they are stored with a conversation. */
  toStore() {
    return this.panel.settings();
  }

  /** Show the settings of a stored conversation; null: those of a new one. */
  show(conversation) {
    this.#id = conversation?.id ?? null;
    this.panel.show(this.#withServedModel(conversation ? conversationSettings(conversation) : newSettings()));
    this.#showState();
  }

  /** The open new conversation is stored, with its settings. */
  assign(id) {
    this.#id = id;
  }

  /** A conversation was deleted. */
  discard(id) {
    discardSettings(id);
  }

  chooseModel(model) {
    this.#replace({ ...this.panel.settings(), model });
  }

  #reset() {
    this.#replace({ ...noSettings(), model: this.model });
    byId("status").textContent = t("The settings are reset to those of the model.");
  }

  #replace(settings) {
    this.panel.show(settings);
    this.#keep(settings);
  }

  /** Keep changed settings for this conversation, and for the next new one, which keeps its own system prompt. */
  #keep(settings) {
    keepNewSettings(this.#id === null ? settings : { ...settings, system: newSettings().system });
    if (this.#id !== null) saveSettings(this.#id, settings);
    this.#showState();
  }

  #withServedModel(settings) {
    const isServed = this.models.some(({ id }) => id === settings.model);
    return isServed ? settings : { ...settings, model: this.panel?.settings().model ?? this.defaultModel };
  }

  #showState() {
    const { system, scenario, parameters } = this.panel.settings();
    const isChanged = Boolean(system || scenario || Object.keys(parameters).length);
    byId("reset-controls").disabled = !isChanged;
    byId("open-controls").classList.toggle("changed", isChanged);
    this.#showModel();
  }

  #showModel() {
    const { model, models } = this;
    const length = models.find(({ id }) => id === model).max_model_len;
    const element = models.length > 1
      ? make("select", { "aria-label": t("Model"), onchange: (event) => this.chooseModel(event.target.value) },
          ...models.map(({ id }) => make("option", { value: id, selected: id === model }, id)))
      : make("span", { title: t("Model, context of {number} tokens", { number: length }) }, model);
    const hadFocus = byId("model").contains(document.activeElement);
    byId("model").replaceChildren(element);
    if (hadFocus) element.focus();
  }
}
