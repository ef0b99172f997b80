// The prompts of a list: one per line, as text or as JSON.

import { t } from "./i18n.js";

const MAX_PROMPTS = 1000;
const TEXT_KEYS = ["prompt", "text", "question", "instruction"];

/**
 * Read a list of prompts. Empty lines are left out.
 *
 * @returns the messages of each prompt. The last message is of the user.
 * @throws Error with the number of the line, for the user.
 */
export function parsePrompts(text) {
  const prompts = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim()) prompts.push(line.trim().startsWith("{") ? parseObject(line, index + 1) : userMessage(line.trim()));
  }
  if (!prompts.length) throw new Error(t("There are no prompts."));
  if (prompts.length > MAX_PROMPTS) throw new Error(t("A list has at most {maximum} prompts.", { maximum: MAX_PROMPTS }));
  return prompts;
}

const userMessage = (content) => [{ role: "user", content }];

function parseObject(line, number) {
  let value;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new Error(t("Line {number} is not JSON: {reason}", { number, reason: error.message }));
  }
  const key = TEXT_KEYS.find((name) => typeof value[name] === "string" && value[name].trim());
  if (key) return userMessage(value[key]);
  const messages = Array.isArray(value.messages) ? value.messages : [];
  const last = messages.findLastIndex(({ role }) => role === "user");
  const isValid = last >= 0 && messages.every(({ role, content }) => typeof role === "string" && typeof content === "string");
  if (!isValid) throw new Error(t("Line {number} has neither a “prompt” nor “messages” with one of the user.", { number }));
  return messages.slice(0, last + 1).map(({ role, content }) => ({ role, content }));
}
