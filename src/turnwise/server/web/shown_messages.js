// Messages as the page shows them: from stored messages, and to messages of a request.

import { ENDINGS } from "./thread.js";

/** Convert a shown message to a message of a request. */
export function toRequestMessage({ role, content, pinned, name, tool_calls, tool_call_id }) {
  const message = { role, content };
  for (const [key, value] of Object.entries({ pinned, name, tool_calls, tool_call_id })) if (value) message[key] = value;
  return message;
}

/**
 * Convert a stored message to a shown message.
 *
 * @param stored the message.
 * @param context `models`, the models that the page offers, and `feedback`, the `AnswerFeedback`.
 */
export function toShownMessage(stored, { models, feedback }) {
  const { finish, model, error, person, consent } = stored.meta;
  const { id, role, content, pinned, name, tool_calls, tool_call_id, sibling_ids: siblings } = stored;
  const figures = [person, models.length > 1 && model, ENDINGS[finish]].filter(Boolean).join(" · ");
  const takesRatings = role === "assistant" && Boolean(finish) && finish !== "in_progress" && consent !== "off";
  const takesTexts = takesRatings && consent === "full";
  const opinion = feedback.of(id);
  return {
    id, role, content, pinned, name, tool_calls, tool_call_id, siblings, finish, figures, refusal: error?.message,
    takesRatings, takesTexts, feedback: opinion,
  };
}
