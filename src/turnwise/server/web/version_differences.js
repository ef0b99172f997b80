// The comparison of two versions of a model: settings, training files, figures and lineage that differ.

import { versionDifferences } from "./api.js";
import { make } from "./dom.js";
import { t } from "./i18n.js";
import { folded, numberTable } from "./number_table.js";
import { showError } from "./page.js";

const MAX_CHARS = 60; // of a value; digests of files are as long

/** A folded form that compares two versions, at first the last one with its parent. */
export function comparisonPart(model, versions) {
  const last = versions.at(-1);
  const [first, second] = [last.parent ?? last.number - 1, last.number].map((preset) =>
    make("select", {}, ...versions.map(({ id, number }) => make("option", { value: number, selected: number === preset }, id))));
  const result = make("div");
  const form = make("form", { class: "admin-bar" },
    make("label", {}, `${t("Compare")} `, first), make("label", {}, `${t("with")} `, second),
    make("button", { class: "quiet-button" }, t("Show the differences")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      result.replaceChildren(differences(await versionDifferences(model, first.value, second.value)));
      showError("");
    } catch (error) {
      showError(error.message);
    }
  });
  return folded(t("Compare two versions"), form, result);
}

function differences({ first, second, object: _, ...parts }) {
  const rows = Object.values(parts).flatMap(Object.entries).map(([name, values]) => [name, ...values.map(text)]);
  return rows.length ? numberTable([t("What differs"), first, second], rows) : t("The recipe, the data and the figures are the same.");
}

const text = (value) => (value === null ? "–" : String(value).slice(0, MAX_CHARS));
