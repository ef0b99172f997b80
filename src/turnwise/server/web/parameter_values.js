// Values of request fields: what is wrong with one, and how it is written. `spec`: an entry of /v1/parameters.

import { t } from "./i18n.js";

/** What is wrong with a value; "" if the server accepts its type and range. */
export function valueProblem(spec, value) {
  if (spec.widget === "number") return numberProblem(spec, value);
  if (spec.widget === "switch") return typeof value === "boolean" ? "" : t("This is not true or false.");
  if (spec.widget === "choice") return spec.choices.includes(value) ? "" : t("This is none of the choices.");
  if (spec.widget === "text") return typeof value === "string" && value !== "" ? "" : t("This is not a text.");
  if (spec.widget === "token_map") return tokenMapProblem(spec, value);
  if (spec.widget === "json") return isObject(value) ? "" : t("This is not a JSON object in braces.");
  return linesProblem(spec, value);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function numberProblem(spec, value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return t("This is not a number.");
  if (spec.type !== "number" && !Number.isSafeInteger(value)) return t("This is not a whole number.");
  const tooLow = spec.minimum !== null && (spec.exclusive_minimum ? value <= spec.minimum : value < spec.minimum);
  return tooLow || (spec.maximum !== null && value > spec.maximum) ? t("This value is out of range.") : "";
}

function tokenMapProblem(spec, value) {
  if (!isObject(value)) return t("These are no tokens with numbers.");
  for (const [token, number] of Object.entries(value)) {
    if (!/^\d{1,9}$/.test(token)) return t("“{token}” is not the id of a token.", { token });
    const problem = numberProblem({ ...spec, type: "number" }, number);
    if (problem) return problem;
  }
  return "";
}

function linesProblem(spec, value) {
  if (!Array.isArray(value) || !value.length) return t("There are no lines.");
  if (spec.maximum !== null && spec.is_list && value.length > spec.maximum) return t("At most {maximum} lines.", spec);
  const isEntry = spec.type === "integer" ? (entry) => Number.isSafeInteger(entry) && entry >= 0 : (entry) => typeof entry === "string" && entry !== "";
  return value.every(isEntry) ? "" : t("Every line must be the id of a token.");
}

/** The entries of a text with one per line. A line break within an entry is written as \n. */
export function parseLines(spec, text) {
  const lines = text.split("\n").filter((line) => line !== "");
  if (spec.type === "integer") return lines.map((line) => (/^\s*\d+\s*$/.test(line) ? Number(line) : NaN));
  return lines.map((line) => line.replace(/\\(n|t|\\)/g, (_, letter) => ({ n: "\n", t: "\t", "\\": "\\" })[letter]));
}

/** The text of a list, one entry per line. */
export function formatLines(values) {
  return values.map((value) => String(value).replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t")).join("\n");
}

/** The label of a field, such as "Top p". */
export function fieldLabel({ name, label = "" }) {
  return t(label || (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " "));
}

/** Values in one line, such as "temperature 0.2, top p 0.9". */
export function describeValues(parameters) {
  const parts = Object.entries(parameters).map(([name, value]) => `${fieldLabel({ name })} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return parts.join(" · ");
}
