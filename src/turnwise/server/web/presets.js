// Named sets of parameters: built-in ones, and own ones in this browser.

import { t } from "./i18n.js";
import { valueProblem } from "./parameter_values.js";
import { storage } from "./storage.js";

const KEY = "presets";
const FORMAT = "turnwise_presets"; // marks exported files; its value is the version of the format
const MAX_NAME_CHARS = 60;

export const BUILT_IN = [
  { name: "Precise", parameters: { temperature: 0.2, top_p: 0.9 } },
  { name: "Balanced", parameters: { temperature: 0.7, min_p: 0.1 } },
  { name: "Creative", parameters: { temperature: 1.1, min_p: 0.05, presence_penalty: 0.3 } },
];

export const ownPresets = () => storage.get(KEY) ?? [];
export const allPresets = () => [...BUILT_IN.map((preset) => ({ ...preset, isBuiltIn: true })), ...ownPresets()];

/** The preset with exactly these values; undefined without one. */
export function matchPreset({ system, parameters }) {
  const key = sorted(parameters);
  return allPresets().find((preset) => sorted(preset.parameters) === key && (!preset.system || preset.system === system));
}

const sorted = (parameters) => JSON.stringify(Object.entries(parameters).sort());

/** Save an own preset; one of the same name is replaced. Returns what is wrong with the name, or "". */
export function savePreset({ name, system = "", parameters }) {
  const problem = nameProblem(name);
  if (problem) return problem;
  const preset = { name, parameters, ...(system ? { system } : {}) };
  storage.set(KEY, [...ownPresets().filter((other) => other.name !== name), preset]);
  return "";
}

export function deletePreset(name) {
  storage.set(KEY, ownPresets().filter((preset) => preset.name !== name));
}

function nameProblem(name) {
  if (typeof name !== "string" || !name.trim() || name.length > MAX_NAME_CHARS) return t("A name has 1 to {maximum} characters.", { maximum: MAX_NAME_CHARS });
  if (BUILT_IN.some((preset) => [preset.name, t(preset.name)].includes(name))) return t("“{name}” is the name of a built-in preset.", { name });
  return "";
}

/** The text of a file with all own presets. */
export const exportPresets = () => `${JSON.stringify({ [FORMAT]: 1, presets: ownPresets() }, null, 2)}\n`;

/**
 * Add the presets of a file. Nothing is added if one of them is invalid.
 *
 * @param text content of the file.
 * @param specs fields of requests, by which the values are checked.
 * @returns the number of presets.
 * @throws Error with a sentence for the user.
 */
export function importPresets(text, specs) {
  let content;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new Error(t("This file is not JSON: {reason}", { reason: error.message }));
  }
  if (content?.[FORMAT] !== 1 || !Array.isArray(content.presets)) throw new Error(t("This file has no presets of this page."));
  for (const preset of content.presets) check(preset, specs);
  for (const preset of content.presets) savePreset(preset);
  return content.presets.length;
}

function check(preset, specs) {
  const problem = nameProblem(preset?.name);
  if (problem) throw new Error(problem);
  const { name, system = "", parameters } = preset;
  if (typeof system !== "string" || typeof parameters !== "object" || parameters === null) {
    throw new Error(t("The preset “{name}” has no parameters.", { name }));
  }
  for (const [field, value] of Object.entries(parameters)) {
    const spec = specs.find((entry) => entry.name === field);
    const reason = spec ? valueProblem(spec, value) : t("This parameter is unknown.");
    if (reason) throw new Error(`${name}, ${field}: ${reason}`);
  }
}
