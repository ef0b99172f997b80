// A chat request as code: for curl, for Python with the client library of OpenAI, and for JavaScript.

const STANDARD_FIELDS = new Set(["model", "messages", "stream", "stream_options", "store", "metadata"]);
const KEY_VARIABLE = "TURNWISE_API_KEY";

/** Fields of a request that belong to this page: code that sends them would write into the conversation. */
const PAGE_FIELDS = ["conversation_id", "store", "metadata"];

/** The request without the fields that belong to the page. */
export function portableRequest(request) {
  return Object.fromEntries(Object.entries(request).filter(([name]) => !PAGE_FIELDS.includes(name)));
}

/**
 * A command for a POSIX shell.
 *
 * @param request body of a chat completion.
 * @param origin address of the server, with its protocol.
 * @param needsKey whether the server requires an API key. The code reads it from a variable of the environment.
 */
export function toCurl(request, { origin, needsKey }) {
  const body = JSON.stringify(request, null, 2);
  const headers = ['-H "Content-Type: application/json"', ...(needsKey ? [`-H "Authorization: Bearer $${KEY_VARIABLE}"`] : [])];
  const url = `${origin}/v1/chat/completions`;
  return [`curl ${shellString(url)}`, ...headers, `-d ${shellString(body)}`].join(" \\\n  ");
}

/** In single quotes a shell replaces nothing; a quote itself ends them, is escaped, and begins them again. */
const shellString = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A script for the package `openai`. Fields that it does not know, `extensions`, go into `extra_body`. */
export function toPython(request, { origin, needsKey, extensions }) {
  const isExtension = (name) => !STANDARD_FIELDS.has(name) && extensions.has(name);
  const fields = Object.entries(request).filter(([name]) => !isExtension(name));
  const extra = Object.entries(request).filter(([name]) => isExtension(name));
  const key = needsKey ? `os.environ["${KEY_VARIABLE}"]` : '"none"';
  const lines = [
    ...(needsKey ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    "client = OpenAI(base_url=" + pythonValue(origin + "/v1") + `, api_key=${key})`,
    "completion = client.chat.completions.create(",
    ...fields.map(([name, value]) => `    ${name}=${pythonValue(value, "    ")},`),
    ...(extra.length ? [`    extra_body=${pythonValue(Object.fromEntries(extra), "    ")},`] : []),
    ")",
    "print(completion.choices[0].message.content)",
  ];
  return `${lines.join("\n")}\n`;
}

/** A value as Python source. The escapes of JSON strings are also those of Python, except "/", which needs none. */
function pythonValue(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const parts = Array.isArray(value)
    ? value.map((entry) => pythonValue(entry, inner))
    : Object.entries(value).map(([name, entry]) => `${JSON.stringify(name)}: ${pythonValue(entry, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!parts.length) return open + close;
  const lines = parts.map((part) => `${inner}${part},\n`);
  return `${open}\n${lines.join("")}${indent}${close}`;
}

/** A module for browsers, node and deno. */
export function toJavaScript(request, { origin, needsKey }) {
  const body = JSON.stringify(request, null, 2).replaceAll("\n", "\n  ");
  const headers = ['"Content-Type": "application/json"', ...(needsKey ? [`Authorization: \`Bearer \${process.env.${KEY_VARIABLE}}\``] : [])];
  const lines = [
    "const response = await fetch(" + JSON.stringify(origin + "/v1/chat/completions") + ", {",
    '  method: "POST",',
    `  headers: { ${headers.join(", ")} },`,
    `  body: JSON.stringify(${body}),`,
    "});",
    "const completion = await response.json();",
    "if (!response.ok) throw new Error(completion.error.message);",
    "console.log(completion.choices[0].message.content);",
  ];
  return `${lines.join("\n")}\n`;
}
