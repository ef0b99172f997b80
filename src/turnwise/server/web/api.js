// Requests to the server: JSON routes and streamed completions.

import { apiKey, requestKey } from "./api_key.js";
import { t } from "./i18n.js";

const KEY_ERRORS = ["invalid_api_key", "insufficient_role"]; // another key may help

export class ApiError extends Error {
  constructor(message, { status = 0, code = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const unreachable = () => new ApiError(t("The server does not answer. Is it still running?"));

/**
 * Send a request. Asks for an API key if the server needs one.
 *
 * @param method HTTP method.
 * @param path path with the query.
 * @param body an object, which is sent as JSON, or a Blob.
 * @param options `signal`, and `requestId`, the id that the server knows the request by.
 */
export async function call(method, path, body, options = {}) {
  for (;;) {
    const usedKey = apiKey();
    const response = await sendOnce(method, path, body, options, usedKey);
    if (response.ok) return response;
    const error = await toApiError(response);
    if (!KEY_ERRORS.includes(error.code) || !(await requestKey(usedKey, error.code))) throw error;
    options.signal?.throwIfAborted();
  }
}

async function sendOnce(method, path, body, { signal, requestId, keepalive }, usedKey) {
  const headers = {};
  const isFile = body instanceof Blob;
  if (body !== undefined && !isFile) headers["Content-Type"] = "application/json";
  if (requestId) headers["x-request-id"] = requestId;
  if (usedKey) headers.Authorization = `Bearer ${usedKey}`;
  try {
    return await fetch(path, { method, signal, headers, keepalive, body: body === undefined || isFile ? body : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
}

async function toApiError(response) {
  const body = await response.json().catch(() => ({}));
  const { message, code } = body.error ?? {};
  return new ApiError(message ?? t("The server answered with status {status}.", response), { status: response.status, code });
}

export async function json(method, path, body, signal) {
  const response = await call(method, path, body, { signal });
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable(); // the body broke off
  }
}

export const conversationPath = (id) => `/v1/conversations/${encodeURIComponent(id)}`;

export const openapi = () => json("GET", "/openapi.json");
export const models = () => json("GET", "/v1/models");
export const parameters = () => json("GET", "/v1/parameters");
export const scenarios = async () => (await json("GET", "/v1/scenarios")).data;
/** A page of conversations. `filter`: `after`, `query`, `pinned` and `folder`; undefined ones are left out. */
export const conversations = (filter = {}) => {
  const search = new URLSearchParams({ limit: "100" });
  for (const [name, value] of Object.entries(filter)) if (value !== undefined && (value !== "" || name === "folder")) search.set(name, value);
  return json("GET", `/v1/conversations?${search}`);
};
export const conversation = (id) => json("GET", conversationPath(id));
export const newConversation = (conversation) => json("POST", "/v1/conversations", conversation);
export const updateConversation = (id, changes) => json("PATCH", conversationPath(id), changes);
export const showBranch = (id, message) => json("PATCH", conversationPath(id), { head: message });
export const conversationFeedback = (id) => json("GET", `${conversationPath(id)}/feedback`);
export const addFeedback = (feedback) => json("POST", "/v1/feedback", feedback);
export const deleteFeedback = (id) => json("DELETE", `/v1/feedback/${encodeURIComponent(id)}`);
export const addComparison = (comparison) => json("POST", "/v1/comparisons", comparison);
export const deleteComparison = (id) => json("DELETE", `/v1/comparisons/${encodeURIComponent(id)}`);
export const comparisonScores = async () => (await json("GET", "/v1/comparisons/scores")).data;
export const reviewItems = (reviewer, limit) => {
  const search = new URLSearchParams({ limit });
  if (reviewer) search.set("reviewer", reviewer);
  return json("GET", `/v1/review?${search}`);
};
export const addVerdict = (verdict) => json("POST", "/v1/review", verdict);
export const reviewAgreement = () => json("GET", "/v1/review/agreement");
export const deleteConversation = (id, { keepalive = false } = {}) => call("DELETE", conversationPath(id), undefined, { keepalive });
export const nextToken = (request, signal) => json("POST", "/v1/next_token", request, signal);
export const answerTokens = (request, signal) => json("POST", "/v1/answer_tokens", request, signal);
export const attention = (request, signal) => json("POST", "/v1/attention", request, signal);
export const beams = (request, signal) => json("POST", "/v1/chat/completions", { ...request, beam_tree: true }, signal);
export const classify = (request, signal) => json("POST", "/v1/classify", request, signal);
export const tag = (request, signal) => json("POST", "/v1/tag", request, signal);

export const improvements = (signal) => json("GET", "/v1/improvements", undefined, signal);
export const reportPath = (model, number) => `/v1/improvements/${encodeURIComponent(model)}/${number}/report`;
export const improvementReport = async (model, number) => (await call("GET", reportPath(model, number))).text();
export const versions = (signal) => json("GET", "/v1/versions", undefined, signal);
const versionsPath = (model, action) => `/v1/versions/${encodeURIComponent(model)}/${action}`;
export const promoteVersion = (model, number, promotion) => json("POST", versionsPath(model, `${number}/promote`), promotion);
export const versionHistory = async (model, signal) => (await json("GET", versionsPath(model, "history"), undefined, signal)).data;
export const versionDifferences = (model, first, second) => json("GET", versionsPath(model, `diff?${new URLSearchParams({ first, second })}`));
export const rollBackVersion = (model, reason) => json("POST", versionsPath(model, "rollback"), { reason });

export const keys = (signal) => json("GET", "/v1/keys", undefined, signal);
export const createKey = (key) => json("POST", "/v1/keys", key);
export const revokeKey = (name) => json("DELETE", `/v1/keys/${encodeURIComponent(name)}`);
export const usage = (days, signal) => json("GET", `/v1/usage?days=${days}`, undefined, signal);

const handoffPath = (id, action = "") => `/v1/handoffs/${encodeURIComponent(id)}${action}`;
const pollQuery = ({ all = false, after, wait }) => {
  const search = new URLSearchParams({ wait });
  if (all) search.set("state", "all");
  if (after !== undefined) search.set("after", after);
  return search;
};
export const handoffs = (options, signal) => json("GET", `/v1/handoffs?${pollQuery(options)}`, undefined, signal);
export const handoff = (id, options, signal) => json("GET", `${handoffPath(id)}?${pollQuery(options)}`, undefined, signal);
export const conversationHandoff = (id, options, signal) =>
  json("GET", `${conversationPath(id)}/handoff?${pollQuery(options)}`, undefined, signal);
export const claimHandoff = (id, agent) => json("POST", handoffPath(id, "/claim"), { agent });
export const renewHandoff = (id, claim) => json("POST", handoffPath(id, "/renew"), { claim });
export const sendHandoffMessage = (id, claim, text) => json("POST", handoffPath(id, "/messages"), { claim, text });
export const endHandoff = (id, claim, kind) => json("POST", handoffPath(id, `/${kind}`), { claim });

/** Yield the chunks of a streamed completion. Throws on an error event and on a broken connection. */
export async function* complete(request, signal, requestId) {
  const body = { ...request, stream: true, stream_options: { include_usage: true } };
  yield* chunks(await call("POST", "/v1/chat/completions", body, { signal, requestId }));
}

/** Yield the chunks of a stream of completion chunks. */
export async function* chunks(response) {
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, { code: chunk.error.code });
    yield chunk;
  }
  throw new ApiError(t("The connection was lost before the answer was complete."));
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (pending + value).split("\n\n");
      pending = blocks.pop();
      for (const block of blocks) if (block.startsWith("data: ")) yield block.slice(6);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(t("The connection was lost before the answer was complete."));
  } finally {
    reader.cancel().catch(() => {});
  }
}
