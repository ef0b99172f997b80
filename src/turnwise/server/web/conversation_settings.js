// The settings of the open conversation: the choice of the model above the chat, and where they are kept. The panel is loaded when
// it is first opened, or when there are parameters, which it checks.

import * as api from "./api.js";
import { conversationSettings, discardSettings, keepNewSettings, newSettings, noSettings, saveSettings } from "./chat_settings.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";

export class ConversationSettings {
  #id = null; // of the open conversation; null for a new one
  #current; // { system, model, scenario, parameters }
  #panel = null;
  #loading = null; // promise of the panel
  #declaration = null; // promise of the answer of /v1/parameters

  /** Load what the server offers, and show the settings of a new conversation. */
  static async open() {
    const models = await api.models();
    const served = models.data.filter(({ task, version_of: versionOf }) => task === "chat" && !versionOf);
    const settings = new ConversationSettings(served, models.default);
    await settings.show(null);
    return settings;
  }

  constructor(models, defaultModel) {
    Object.assign(this, { models, defaultModel });
    byId("reset-controls").onclick = () => this.#reset();
    byId("controls-form").onsubmit = (event) => event.preventDefault();
  }

  get model() {
    return this.#current.model;
  }

  /** The answer of /v1/parameters. */
  declaration() {
    this.#declaration ??= api.parameters().catch((error) => {
      this.#declaration = null; // the next call tries again
      throw error;
    });
    return this.#declaration;
  }

  /** Load the panel, if it is not loaded. After a failure, the next call tries again. */
  loadPanel() {
    this.#loading ??= this.#createPanel().catch((error) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  async #createPanel() {
    const form = byId("controls-form");
    form.setAttribute("aria-busy", "true");
    try {
      const [{ SettingsPanel }, { MAX_CHOICES }, declaration, scenarios] = await Promise.all([
        import("./settings_panel.js"), import("./answer_choices.js"), this.declaration(), api.scenarios(),
      ]);
      this.#panel = new SettingsPanel(form, {
        declaration, scenarios, models: this.models, settings: this.#current, limits: { n: MAX_CHOICES },
        changed: (settings) => this.#keep(settings),
      });
      this.#current = this.#panel.settings(); // without values that the server does not accept
      this.#showState();
    } finally {
      form.removeAttribute("aria-busy");
    }
  }

  /** The settings of a request, and the number of answers to choose from. */
  forRequest() {
    const { parameters: { n: numAnswers = 1, ...parameters }, ...settings } = this.#current;
    return { settings: { ...settings, parameters }, numAnswers };
  }

  /** All settings, as they are stored with a conversation. */
  toStore() {
    return { ...this.#current, parameters: { ...this.#current.parameters } };
  }

  /** Show the settings of a stored conversation; null: those of a new one. Ends when their parameters are checked. */
  async show(conversation) {
    this.#id = conversation?.id ?? null;
    this.#apply(this.#withServedModel(conversation ? conversationSettings(conversation) : newSettings()));
    if (Object.keys(this.#current.parameters).length) await this.loadPanel();
  }

  #apply(settings) {
    this.#current = settings;
    this.#panel?.show(settings);
    this.#current = this.#panel?.settings() ?? settings;
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
    this.#replace({ ...this.toStore(), model });
  }

  #reset() {
    this.#replace({ ...noSettings(), model: this.model });
    byId("status").textContent = t("The settings are reset to those of the model.");
  }

  #replace(settings) {
    this.#apply(settings);
    this.#keep(this.toStore());
  }

  /** Keep changed settings for this conversation, and for the next new one, which keeps its own system prompt. */
  #keep(settings) {
    this.#current = settings;
    keepNewSettings(this.#id === null ? settings : { ...settings, system: newSettings().system });
    if (this.#id !== null) saveSettings(this.#id, settings);
    this.#showState();
  }

  #withServedModel(settings) {
    const isServed = this.models.some(({ id }) => id === settings.model);
    return isServed ? settings : { ...settings, model: this.#current?.model ?? this.defaultModel };
  }

  #showState() {
    const { system, scenario, parameters } = this.#current;
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
