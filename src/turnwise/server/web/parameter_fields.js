// Form elements for request fields, one kind per `widget` of /v1/parameters.

import { iconButton, make } from "./dom.js";
import { t } from "./i18n.js";
import { fieldLabel, formatLines, parseLines, valueProblem } from "./parameter_values.js";

const MAX_SLIDER_RANGE = 10; // wider ranges get a number input

/**
 * Create the row of a field: label, input, help, and what is wrong with its value.
 *
 * @param spec entry of /v1/parameters.
 * @param prefix of the ids of its elements.
 * @param value the value that the user has set; undefined: none.
 * @param fallback the value that holds without one.
 * @param changed called with the new value; undefined if there is none or it is invalid.
 */
export function createField(spec, { prefix, value, fallback, changed }) {
  const id = `${prefix}-${spec.name}`;
  const output = make("output", { for: id });
  const problem = make("p", { class: "control-problem", id: `${id}-problem`, role: "alert" });
  const report = (newValue, message = newValue === undefined ? "" : valueProblem(spec, newValue)) => {
    problem.textContent = message;
    input.setAttribute("aria-invalid", String(message !== ""));
    const isSet = !message && newValue !== undefined && newValue !== fallback;
    row.classList.toggle("changed", isSet);
    changed(isSet ? newValue : undefined);
  };
  const { input, element = input } = WIDGETS[spec.widget](spec, { id, value, fallback, report, output });
  input.setAttribute("aria-describedby", `${id}-help ${id}-problem`);
  const isGroup = element !== input; // then the input is a button with a name of its own
  const label = isGroup
    ? make("span", { class: "control-label", id: `${id}-label`, title: spec.description }, fieldLabel(spec))
    : make("label", { for: id, title: spec.description }, fieldLabel(spec));
  if (isGroup) {
    element.role = "group";
    element.setAttribute("aria-labelledby", `${id}-label`);
  }
  const row = make("div", { class: "control" },
    make("div", { class: "control-head" }, label, output),
    element,
    make("p", { class: "control-help", id: `${id}-help` }, t(spec.help)),
    problem,
  );
  row.classList.toggle("changed", value !== undefined);
  return row;
}

const WIDGETS = { number, switch: createSwitch, choice, lines, token_map: tokenMap, text, json };

function number(spec, { id, value, fallback, report, output }) {
  const { minimum, maximum } = spec;
  const isSlider = spec.type === "number" && minimum !== null && maximum !== null && maximum - minimum <= MAX_SLIDER_RANGE;
  const step = spec.type !== "number" ? 1 : isSlider ? 0.01 : "any";
  const input = make("input", { id, type: isSlider ? "range" : "number" });
  input.step = step;
  if (minimum !== null) input.min = spec.exclusive_minimum && step !== "any" ? minimum + step : minimum;
  if (maximum !== null && maximum < Number.MAX_SAFE_INTEGER) input.max = maximum;
  input.value = value ?? fallback ?? "";
  input.placeholder = fallback === null || fallback === undefined ? t("unset") : String(fallback);
  if (isSlider) output.textContent = String(value ?? fallback);
  input.addEventListener("input", () => {
    if (isSlider) output.textContent = input.value;
    if (input.value === "" && !input.validity.badInput) report(undefined);
    else report(Number(input.value), input.validity.valid ? undefined : input.validationMessage);
  });
  return { input };
}

function createSwitch(spec, { id, value, fallback, report }) {
  const input = make("input", { id, type: "checkbox", role: "switch", class: "switch", checked: value ?? fallback ?? false });
  input.addEventListener("change", () => report(input.checked));
  return { input };
}

function choice(spec, { id, value, fallback, report }) {
  const label = fallback === null || fallback === undefined ? t("as the server does") : t(String(fallback).replaceAll("_", " "));
  const others = spec.choices.filter((entry) => entry !== fallback);
  const input = make("select", { id },
    make("option", { value: "" }, label),
    ...others.map((entry) => make("option", { value: JSON.stringify(entry), selected: entry === value }, t(String(entry).replaceAll("_", " ")))),
  );
  input.addEventListener("change", () => report(input.value === "" ? undefined : JSON.parse(input.value)));
  return { input };
}

function lines(spec, { id, value, report }) {
  const entries = value === undefined ? [] : [value].flat();
  const input = make("textarea", { id, rows: Math.max(2, entries.length), value: formatLines(entries), dir: "auto", spellcheck: false });
  input.addEventListener("input", () => {
    const parsed = parseLines(spec, input.value);
    report(parsed.length ? parsed : undefined);
  });
  return { input };
}

function text(spec, { id, value, report }) {
  const input = make("textarea", { id, rows: 2, value: value ?? "", class: "control-code", spellcheck: false });
  input.addEventListener("input", () => report(input.value === "" ? undefined : input.value));
  return { input };
}

function json(spec, { id, value, report }) {
  const input = make("textarea", {
    id, rows: 3, value: value === undefined ? "" : JSON.stringify(value, null, 2), class: "control-code", spellcheck: false,
    placeholder: '{"type": "json_object"}',
  });
  input.addEventListener("input", () => {
    if (!input.value.trim()) return report(undefined);
    let parsed;
    try {
      parsed = JSON.parse(input.value);
    } catch (error) {
      return report(undefined, t("This is not JSON: {reason}", { reason: error.message }));
    }
    report(parsed);
  });
  return { input };
}

/** Rows of a token and a number, and a button that adds one. */
function tokenMap(spec, { id, value = {}, report }) {
  const rows = make("div", { class: "token-rows" });
  const read = () => {
    const entries = [...rows.children].map((row) => [...row.querySelectorAll("input")].map((input) => input.value.trim()));
    const complete = entries.filter(([token, bias]) => token || bias);
    report(complete.length ? Object.fromEntries(complete.map(([token, bias]) => [token, bias === "" ? NaN : Number(bias)])) : undefined);
  };
  const addRow = (token = "", bias = "") => {
    const row = make("div", { class: "token-row", oninput: read },
      make("input", { value: token, inputMode: "numeric", "aria-label": t("Id of the token"), placeholder: t("token id") }),
      make("input", { value: String(bias), inputMode: "decimal", "aria-label": t("Bias, from -100 to 100"), placeholder: "-100 … 100" }),
      iconButton("close", t("Remove this token"), () => {
        row.remove();
        read();
        button.focus();
      }),
    );
    rows.append(row);
    return row;
  };
  for (const [token, bias] of Object.entries(value)) addRow(token, bias);
  const button = make("button", { id, type: "button", class: "quiet-button", onclick: () => addRow().querySelector("input").focus() }, t("Add a token"));
  return { input: button, element: make("div", {}, rows, button) };
}
