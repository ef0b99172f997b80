// Requests about stored conversations: folders, copies, files and answers that are being generated.

import { call, chunks, conversationPath, json } from "./api.js";

const folderPath = (id) => `/v1/folders/${encodeURIComponent(id)}`;
const answerPath = (conversation, answer) => `${conversationPath(conversation)}/answers/${encodeURIComponent(answer)}`;

export const folders = async () => (await json("GET", "/v1/folders")).data;
export const createFolder = (name) => json("POST", "/v1/folders", { name });
export const renameFolder = (id, name) => json("PATCH", folderPath(id), { name });
export const deleteFolder = (id) => json("DELETE", folderPath(id));

export const conversationTree = (id) => json("GET", `${conversationPath(id)}?tree=true`);
export const fork = (id, message) => json("POST", `${conversationPath(id)}/fork`, { message_id: message });

/** Conversations as one file; all of them without `ids`. */
export const exportConversations = async (format, ids) => (await call("POST", "/v1/conversations/export", { format, ids })).blob();

/** Import the conversations of a file. `skipInvalid`: import the valid ones even if others are not. */
export async function importConversations(file, { skipInvalid = false } = {}) {
  const search = new URLSearchParams({ filename: file.name || "file", skip_invalid: skipInvalid });
  return (await call("POST", `/v1/conversations/import?${search}`, file)).json();
}

/** Yield the chunks of an answer that is being generated, from the first one on. */
export async function* attachToAnswer(conversation, answer, signal) {
  yield* chunks(await call("GET", answerPath(conversation, answer), undefined, { signal }));
}

/** Also sent if the page goes away. */
export const stopAnswer = (conversation, answer) => call("DELETE", answerPath(conversation, answer), undefined, { keepalive: true });
