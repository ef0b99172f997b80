// Stored messages as the page shows them.

import { ENDINGS } from "./answer_figures.js";

/**
 * Convert a stored message to a shown message.
 *
 * @param stored the message.
 * @param context `models`, the models that the page offers, and `feedback`, the `AnswerFeedback`.
 */
export function toShownMessage(stored, { models, feedback }) {
  const { finish, model, error, person, consent, service } = stored.meta;
  const { id, role, content, pinned, name, tool_calls, tool_call_id, sibling_ids: siblings } = stored;
  const figures = [person, models.length > 1 && model, ENDINGS[finish]].filter(Boolean).join(" · ");
  const takesRatings = role === "assistant" && Boolean(finish) && finish !== "in_progress" && consent !== "off";
  const takesTexts = takesRatings && consent === "full";
  const opinion = feedback.of(id);
  return {
    id, role, content, pinned, name, tool_calls, tool_call_id, siblings, finish, figures, refusal: error?.message,
    takesRatings, takesTexts, feedback: opinion, citations: service?.citations, meta: stored.meta,
  };
}
