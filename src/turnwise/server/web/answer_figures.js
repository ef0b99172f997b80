// What the page says about an answer: its tokens, its speed, and how it ended.

import { ENDINGS } from "./thread.js";

export function figures({ at, usage, finish, context }, now) {
  const parts = [];
  if (usage) {
    const seconds = (now - at) / 1000;
    const numTokens = usage.completion_tokens - (context?.summary?.completion_tokens ?? 0);
    parts.push(`${numTokens} ${numTokens === 1 ? "token" : "tokens"}`);
    if (at && numTokens > 1 && seconds > 0) parts.push(`${(numTokens / seconds).toFixed(1)} tokens/s`);
  }
  if (ENDINGS[finish]) parts.push(ENDINGS[finish]);
  return parts.join(" · ");
}

/** Describe the report of a context policy in one line. */
export function describeContext(context) {
  if (!context) return "";
  if (context.dropped_tokens) return `${context.dropped_tokens} older tokens were left out`;
  const subject = context.dropped_messages === 1 ? "1 older message was" : `${context.dropped_messages} older messages were`;
  return `${subject} ${context.summary?.text ? "summarised" : "left out"}`;
}
