// The official JavaScript client on responses.
import OpenAI from "openai";
import { report, url, MODEL, HELLO, LONG, WEATHER } from "./shared.mjs";

const client = new OpenAI({ baseURL: url, apiKey: "-", maxRetries: 0 });
const limit = { model: MODEL, max_output_tokens: 60, temperature: 0 };
const ask = { role: "user", content: "The weather in Rome?" };
const tools = [{ type: "function", name: "get_weather", parameters: WEATHER, strict: true }];

async function goOn(response) {
  const calls = response.output.filter((item) => item.type === "function_call");
  const outputs = calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "sunny" }));
  JSON.parse(calls[0].arguments).city.length;
  const input = [ask, ...response.output, ...outputs];
  const answer = await client.responses.create({ ...limit, input, tools, tool_choice: "none" });
  return answer.output[0].type === "message";
}

await report("chat", async () => (await client.responses.create({ ...limit, input: HELLO })).output_text.length > 0);
await report("stream", async () => {
  let text = "";
  const stream = client.responses.stream({ ...limit, input: HELLO });
  stream.on("response.output_text.delta", (event) => (text += event.delta));
  const final = await stream.finalResponse();
  return text === final.output[0].content[0].text && final.status !== "in_progress";
});
await report("tool loop", async () =>
  goOn(await client.responses.create({ ...limit, input: [ask], tools, tool_choice: "required" })));
await report("streamed tool loop", async () => {
  const stream = client.responses.stream({ ...limit, input: [ask], tools, tool_choice: "required" });
  return goOn(await stream.finalResponse());
});
await report("structured output", async () => {
  const text = { format: { type: "json_schema", name: "weather", schema: WEATHER, strict: true } };
  const response = await client.responses.parse({ ...limit, input: "Rome", text });
  return typeof response.output_parsed.city === "string";
});
await report("context overflow", async () => {
  try {
    await client.responses.create({ model: MODEL, input: LONG });
  } catch (error) {
    return error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded";
  }
});
