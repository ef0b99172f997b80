// The API reference, built from the OpenAPI document of the server.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";
import { startPage } from "./page.js";

const resolve = (document_, schema) => (schema?.$ref ? document_.components.schemas[schema.$ref.split("/").pop()] : schema);

/** Describe a type in words. */
function describeType(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return either(schema.enum.map((value) => JSON.stringify(value)));
  if (schema.anyOf) return either([...new Set(schema.anyOf.map(describeType))].filter((type) => type !== "null"));
  if (schema.type === "array") return t("list of {type}", { type: describeType(schema.items) || t("anything") });
  const type = schema.type ?? t("anything");
  const limits = bounds(schema);
  return limits ? t("{type}, {limits}", { type, limits }) : type;
}

function bounds({ minimum, exclusiveMinimum, maximum, maxLength }) {
  if (maxLength !== undefined) return t("at most {number} characters", { number: maxLength });
  return [
    exclusiveMinimum !== undefined ? t("above {number}", { number: exclusiveMinimum })
      : minimum !== undefined && t("from {number}", { number: minimum }),
    maximum !== undefined && t("to {number}", { number: maximum }),
  ].filter(Boolean).join(" ");
}

const either = (types) => types.join(t(" or "));

/** A description, with the words between backticks as code. Those of the OpenAPI document are in English. */
const describe = (text) => make("span", { lang: "en" }, ...text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part)));

/** A name that may break after an underscore, for narrow screens. */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]);

function table(fields) {
  const head = make("tr", {}, ...[t("Field"), t("Type"), t("Meaning")].map((text) => make("th", { scope: "col" }, text)));
  const rows = fields.map(([name, type, meaning]) =>
    make("tr", {}, make("td", {}, make("code", {}, ...breakable(name))), make("td", {}, type), make("td", {}, meaning)),
  );
  return make("table", { class: "fields" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function operation(document_, method, path, definition) {
  const element = make("details", { class: "operation" });
  element.append(
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), make("code", {}, path),
      describe((definition.description ?? "").split("\n")[0])),
  );
  const parameterRows = (definition.parameters ?? []).map((parameter) => [parameter.name, describeType(parameter.schema), t(`in the ${parameter.in}`)]);
  if (parameterRows.length) element.append(table(parameterRows));
  const content = definition.requestBody?.content ?? {};
  const body = resolve(document_, content["application/json"]?.schema);
  if (body) element.append(make("p", {}, t("Body:")), fieldsOf(body));
  else if (Object.keys(content).length) element.append(make("p", {}, t("Body: {types}", { types: either(Object.keys(content)) })));
  const answer = resolve(document_, definition.responses["200"]?.content?.["application/json"]?.schema);
  if (answer?.properties) element.append(make("p", {}, t("Answer:")), fieldsOf(answer));
  return element;
}

function fieldsOf(schema) {
  const required = new Set(schema.required ?? []);
  return table(
    Object.entries(schema.properties).map(([name, field]) => [
      name,
      describeType(field) + (required.has(name) && field.const === undefined ? t(" (required)") : ""),
      describe(field.description ?? ""),
    ]),
  );
}

async function start() {
  const document_ = await api.openapi();
  byId("docs-title").textContent = `${document_.info.title} API ${document_.info.version}`;
  byId("docs-about").replaceChildren(describe(document_.info.description));
  byId("docs-example").textContent = [
    `curl ${location.origin}/v1/chat/completions -H 'Content-Type: application/json' \\`,
    `  -d '{"model": "latest", "messages": [{"role": "user", "content": "Hello"}]}'`,
  ].join("\n");
  const groups = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, definition] of Object.entries(methods)) {
      const tag = definition.tags?.[0] ?? "";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(document_, method, path, definition)]);
    }
  }
  for (const [tag, operations] of groups) byId("docs-operations").append(tag ? make("h2", { lang: "en" }, tag) : make("h2", {}, t("other")), ...operations);
}

startPage(start);
