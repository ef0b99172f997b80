// The official JavaScript client on chat completions. Prints one line of JSON per capability.
import OpenAI from "openai";
import { report, url, MODEL, HELLO, LONG, TEXTS, WEATHER } from "./shared.mjs";

const client = new OpenAI({ baseURL: url, apiKey: "-", maxRetries: 0 });
const limit = { model: MODEL, max_tokens: 60, temperature: 0 };
const ask = { role: "user", content: "The weather in Rome?" };
const tools = [{ type: "function", function: { name: "get_weather", parameters: WEATHER } }];

async function goOn(message) {
  const outputs = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }));
  JSON.parse(message.tool_calls[0].function.arguments).city.length;
  const messages = [ask, message, ...outputs];
  const answer = await client.chat.completions.create({ ...limit, messages, tools, tool_choice: "none" });
  return answer.choices[0].message.role === "assistant";
}

await report("chat", async () => {
  const answer = await client.chat.completions.create({ ...limit, messages: [{ role: "user", content: HELLO }] });
  return answer.choices[0].message.content.length > 0;
});
await report("stream", async () => {
  let pieces = 0;
  const asked = { ...limit, messages: [{ role: "user", content: HELLO }] };
  const stream = client.chat.completions.stream(asked).on("content", () => (pieces += 1));
  const whole = await client.chat.completions.create(asked);
  return (await stream.finalContent()) === whole.choices[0].message.content && pieces > 3;
});
await report("tool loop", async () => {
  const asked = { ...limit, messages: [ask], tools, tool_choice: "required" };
  return goOn((await client.chat.completions.create(asked)).choices[0].message);
});
await report("streamed tool loop", async () => {
  const stream = client.chat.completions.stream({ ...limit, messages: [ask], tools, tool_choice: "required" });
  return goOn(await stream.finalMessage());
});
await report("structured output", async () => {
  const response_format = { type: "json_schema", json_schema: { name: "weather", schema: WEATHER, strict: true } };
  const answer = await client.chat.completions.parse({ ...limit, messages: [ask], response_format });
  return typeof answer.choices[0].message.parsed.city === "string";
});
await report("embeddings", async () => {
  const found = await client.embeddings.create({ model: MODEL, input: TEXTS });
  return found.data.length === TEXTS.length && typeof found.data[0].embedding[0] === "number";
});
await report("context overflow", async () => {
  try {
    await client.chat.completions.create({ model: MODEL, messages: [{ role: "user", content: LONG }] });
  } catch (error) {
    return error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded";
  }
});
