// Talking to the server: JSON routes and the stream of an answer.

import { askForKey, key } from "./key.js";

export class ApiError extends Error {
  constructor(message, { status = 0, code = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function call(method, path, body, signal) {
  for (;;) {
    const used = key();
    const answer = await once(method, path, body, signal, used);
    if (answer.ok) return answer;
    const error = await explained(answer);
    if (error.code !== "invalid_api_key" || !(await askForKey(used))) throw error;
    signal?.throwIfAborted();
  }
}

async function once(method, path, body, signal, used) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (used) headers.Authorization = `Bearer ${used}`;
  try {
    return await fetch(path, { method, signal, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is it still running?");
  }
}

async function explained(answer) {
  const body = await answer.json().catch(() => ({}));
  const { message, code } = body.error ?? {};
  return new ApiError(message ?? `The server answered with status ${answer.status}.`, { status: answer.status, code });
}

const json = async (method, path, body) => (await call(method, path, body)).json();
const place = (id) => `/v1/conversations/${encodeURIComponent(id)}`;

export const models = () => json("GET", "/v1/models");
export const parameters = async () => (await json("GET", "/v1/parameters")).data;
export const conversations = ({ after, query } = {}) => {
  const asked = new URLSearchParams({ limit: "100" });
  if (after) asked.set("after", after);
  if (query) asked.set("query", query);
  return json("GET", `/v1/conversations?${asked}`);
};
export const conversation = (id) => json("GET", place(id));
export const newConversation = (title, model) => json("POST", "/v1/conversations", { title, model });
export const rename = (id, title) => json("PATCH", place(id), { title });
export const showBranch = (id, message) => json("PATCH", place(id), { head: message });
export const forget = (id) => json("DELETE", place(id));

/** The chunks of an answer as they come; ends with the stream, throws on an error event or a broken connection. */
export async function* complete(request, signal) {
  const body = { ...request, stream: true, stream_options: { include_usage: true } };
  const answer = await call("POST", "/v1/chat/completions", body, signal);
  for await (const data of events(answer.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, { code: chunk.error.code });
    yield chunk;
  }
  throw new ApiError("The connection broke off before the answer was complete.");
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (pending + value).split("\n\n");
      pending = parts.pop();
      for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The connection broke off before the answer was complete.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
