// What is shown below an answer: length, speed, and why it ended early.

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
