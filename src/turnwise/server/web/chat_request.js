// Builds the request of a chat from its messages and settings.

/** The messages with the system prompt of the settings in the place of their own. */
export function withSystemPrompt(messages, system) {
  const others = messages[0]?.role === "system" ? messages.slice(1) : messages;
  if (messages[0]?.role === "system" && messages[0].content === system) return messages;
  return system.trim() ? [{ role: "system", content: system }, ...others] : others;
}

/**
 * The body of a chat completion.
 *
 * @param messages the messages of the page.
 * @param settings { model, scenario, parameters }.
 * @param conversation id of the stored conversation; null without one.
 * @param isContinuation whether the last message is continued.
 */
export function toRequest(messages, { model, scenario, parameters }, { conversation = null, isContinuation = false } = {}) {
  const request = { model, messages: messages.map(toRequestMessage), sampling_preset: "chat", ...parameters };
  if (scenario) request.scenario = scenario;
  if (conversation) request.conversation_id = conversation;
  if (isContinuation) Object.assign(request, { continue_final_message: true, echo: true });
  return request;
}

/** A shown message as a message of a request. */
export function toRequestMessage({ role, content, pinned, name, tool_calls, tool_call_id }) {
  const message = { role, content };
  for (const [key, value] of Object.entries({ pinned, name, tool_calls, tool_call_id })) if (value) message[key] = value;
  return message;
}
