// Shows an answer while its chunks arrive.

import { RESTART } from "./running_answer.js";

/**
 * Show the chunks of an answer as they come.
 *
 * @param start returns a promise of the chunks.
 * @param streamingMessage the message on the page.
 * @param options `isContinuation`: the answer begins with the text that is shown already; `isAttached`: it was being
 *   generated before the page was opened; `onChunk()` is called for each chunk, `onText()` before the first text.
 * @returns `progress`, what is known of the answer, and `failure`, the error if it failed.
 */
export async function streamAnswer(start, streamingMessage, { isContinuation, isAttached, onChunk, onText }) {
  const progress = { at: 0, usage: null, finish: null, context: null, service: null };
  const { content } = streamingMessage.message;
  let failure = null;
  try {
    for await (const chunk of await start()) {
      onChunk();
      const choice = chunk.choices[0];
      if (chunk === RESTART) {
        streamingMessage.restart();
        progress.at = 0;
      }
      if (choice?.delta.content) {
        if (!progress.at) onText();
        if (!progress.at && isContinuation) streamingMessage.restart();
        progress.at ||= performance.now();
        streamingMessage.append(choice.delta.content);
      }
      progress.finish = choice?.finish_reason ?? progress.finish;
      progress.usage = chunk.usage ?? progress.usage;
      progress.context = chunk.context ?? progress.context;
      progress.service = chunk.service ?? progress.service;
    }
  } catch (error) {
    if (error.name !== "AbortError") failure = error;
    progress.finish = failure ? "error" : "cancelled";
  }
  if (!progress.at && !isAttached) streamingMessage.restart(content);
  return { progress, failure };
}
