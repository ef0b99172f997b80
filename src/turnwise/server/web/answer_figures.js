// What is shown with an answer: length, speed, why it ended early, and what the context policy left out.

import { t } from "./i18n.js";

/** Labels of answers that are not complete, by finish reason. */
export const ENDINGS = {
  length: t("cut off at the length limit"),
  cancelled: t("stopped"),
  error: t("failed"),
  in_progress: t("interrupted"),
};

/**
 * The figures of an answer in one line.
 *
 * @param progress { at, usage, finish, context }: time of the first token, and what the stream has reported.
 * @param now time of the last token, in milliseconds as `at`.
 */
export function figures({ at, usage, finish, context }, now) {
  const parts = [];
  if (usage) {
    const seconds = (now - at) / 1000;
    const numTokens = usage.completion_tokens - (context?.summary?.completion_tokens ?? 0);
    parts.push(numTokens === 1 ? t("1 token") : t("{number} tokens", { number: numTokens }));
    if (at && numTokens > 1 && seconds > 0) parts.push(t("{number} tokens/s", { number: (numTokens / seconds).toFixed(1) }));
  }
  if (ENDINGS[finish]) parts.push(ENDINGS[finish]);
  return parts.join(" · ");
}

/** Describe the report of a context policy in one line. */
export function describeContext(context) {
  if (!context) return "";
  if (context.dropped_tokens) return t("{number} older tokens were left out", { number: context.dropped_tokens });
  const number = context.dropped_messages;
  if (context.summary?.text) return number === 1 ? t("1 older message was summarised") : t("{number} older messages were summarised", { number });
  return number === 1 ? t("1 older message was left out") : t("{number} older messages were left out", { number });
}
