// The form of a new training or evaluation.

import { make } from "./dom.js";
import { t } from "./i18n.js";

const byName = (name) => document.querySelector(`#run-training [name=${name}]`);

/** Fill the lists with what the server has, and let the form follow the choices. */
export function prepareForm(form, { datasets, models, rated_answers: answers }) {
  const option = (value, label) => make("option", { value }, label);
  for (const list of form.querySelectorAll("[data-list]")) {
    const entries = list.dataset.list === "models" ? models : datasets.map((name) => ({ name, title: name }));
    list.append(...entries.map(({ name, title }) => option(name, title)));
  }
  const data = byName("dataset");
  if (answers) {
    data.append(option("", t("Rated answers of this server ({count})", { count: answers })));
    data.required = false;
  }
  const wanted = new URLSearchParams(location.search).get("dataset");
  if (datasets.includes(wanted)) data.value = wanted;
  document.getElementById("run-no-data").hidden = datasets.length > 0;
  const follow = () => {
    for (const kind of ["training", "evaluation"]) {
      const fields = document.getElementById(`run-${kind}`);
      fields.hidden = fields.disabled = form.kind.value !== kind;
    }
    byName("length").min = byName("unit").value === "minutes" ? 1 : 0.1;
    const methods = models.find(({ name }) => name === byName("base_model").value)?.methods ?? [];
    const method = byName("method");
    for (const entry of method.options) entry.disabled = !methods.includes(entry.value);
    if (method.selectedOptions[0]?.disabled) method.value = methods[0];
  };
  form.addEventListener("change", follow);
  form.hidden = false;
  follow();
}

/** The body of the request: what is filled in. */
export function formValues(form) {
  const values = {};
  for (const { name, type, value } of document.getElementById(`run-${form.kind.value}`).elements) {
    if (name && value.trim()) values[name] = type === "number" ? Number(value) : value.trim();
  }
  const { length, unit, ...rest } = values;
  return unit ? { ...rest, [unit]: length } : rest;
}
