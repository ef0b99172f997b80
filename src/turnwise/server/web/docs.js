// The API reference, built from the OpenAPI document of the server.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { startPage } from "./page.js";

const resolve = (document_, schema) => (schema?.$ref ? document_.components.schemas[schema.$ref.split("/").pop()] : schema);

/** Describe a type in words. */
function describeType(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.anyOf) return [...new Set(schema.anyOf.map(describeType))].filter((type) => type !== "null").join(" or ");
  if (schema.type === "array") return `list of ${describeType(schema.items) || "anything"}`;
  return [schema.type ?? "anything", bounds(schema)].filter(Boolean).join(", ");
}

function bounds({ minimum, exclusiveMinimum, maximum, maxLength }) {
  if (maxLength !== undefined) return `at most ${maxLength} characters`;
  const lowerBound = exclusiveMinimum !== undefined ? `above ${exclusiveMinimum}` : minimum !== undefined ? `from ${minimum}` : "";
  return [lowerBound, maximum !== undefined ? `to ${maximum}` : ""].filter(Boolean).join(" ");
}

/** A description, with the words between backticks as code. */
const describe = (text) => text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));

/** A name that may break after an underscore, for narrow screens. */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]);

function table(fields) {
  const head = make("tr", {}, ...["Field", "Type", "Meaning"].map((text) => make("th", { scope: "col" }, text)));
  const rows = fields.map(([name, type, meaning]) =>
    make("tr", {}, make("td", {}, make("code", {}, ...breakable(name))), make("td", {}, type), make("td", {}, ...describe(meaning))),
  );
  return make("table", { class: "fields" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function operation(document_, method, path, definition) {
  const element = make("details", { class: "operation" });
  element.append(
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), make("code", {}, path),
      make("span", {}, ...describe((definition.description ?? "").split("\n")[0]))),
  );
  const parameterRows = (definition.parameters ?? []).map((parameter) => [parameter.name, describeType(parameter.schema), `in the ${parameter.in}`]);
  if (parameterRows.length) element.append(table(parameterRows));
  const content = definition.requestBody?.content ?? {};
  const body = resolve(document_, content["application/json"]?.schema);
  if (body) element.append(make("p", {}, "Body:"), fieldsOf(body));
  else if (Object.keys(content).length) element.append(make("p", {}, `Body: ${Object.keys(content).join(" or ")}`));
  const answer = resolve(document_, definition.responses["200"]?.content?.["application/json"]?.schema);
  if (answer?.properties) element.append(make("p", {}, "Answer:"), fieldsOf(answer));
  return element;
}

function fieldsOf(schema) {
  const required = new Set(schema.required ?? []);
  return table(
    Object.entries(schema.properties).map(([name, field]) => [
      name,
      describeType(field) + (required.has(name) && field.const === undefined ? " (required)" : ""),
      field.description ?? "",
    ]),
  );
}

async function start() {
  const document_ = await api.openapi();
  byId("docs-title").textContent = `${document_.info.title} API ${document_.info.version}`;
  byId("docs-about").textContent = document_.info.description;
  byId("docs-example").textContent = [
    `curl ${location.origin}/v1/chat/completions -H 'Content-Type: application/json' \\`,
    `  -d '{"model": "latest", "messages": [{"role": "user", "content": "Hello"}]}'`,
  ].join("\n");
  const groups = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, definition] of Object.entries(methods)) {
      const tag = definition.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(document_, method, path, definition)]);
    }
  }
  for (const [tag, operations] of groups) byId("docs-operations").append(make("h2", {}, tag), ...operations);
}

startPage(start);
