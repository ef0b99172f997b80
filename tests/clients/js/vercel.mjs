// The Vercel AI SDK with its OpenAI provider: on responses, its default, or on chat completions (argument "chat").
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { report, url, MODEL, HELLO, LONG, TEXTS, WEATHER } from "./shared.mjs";

const provider = createOpenAI({ baseURL: url, apiKey: "-" });
const model = process.argv[2] === "chat" ? provider.chat(MODEL) : provider(MODEL);
const limit = { model, maxOutputTokens: 60, temperature: 0, maxRetries: 0 };
const weather = tool({
  description: "The weather of a city.",
  inputSchema: jsonSchema(WEATHER),
  execute: async ({ city }) => `sunny in ${city}`,
});
// The first step must call, the second must answer.
const loop = {
  ...limit,
  prompt: "The weather in Rome?",
  tools: { weather },
  stopWhen: stepCountIs(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
};

await report("chat", async () => (await generateText({ ...limit, prompt: HELLO })).text.length > 0);
await report("stream", async () => {
  let text = "";
  let failure;
  const stream = streamText({ ...limit, prompt: HELLO, onError: ({ error }) => (failure = error) });
  for await (const piece of stream.textStream) text += piece;
  if (failure) throw failure;
  return text === (await generateText({ ...limit, prompt: HELLO })).text;
});
await report("tool loop", async () => {
  const { steps } = await generateText(loop);
  return steps.length === 2 && steps[0].toolResults.length > 0 && steps[1].toolCalls.length === 0;
});
await report("streamed tool loop", async () => {
  let failure;
  const stream = streamText({ ...loop, onError: ({ error }) => (failure = error) });
  await stream.consumeStream();
  if (failure) throw failure;
  const steps = await stream.steps;
  return steps.length === 2 && steps[0].toolResults.length > 0;
});
await report("structured output", async () => {
  const { object } = await generateObject({ ...limit, schema: jsonSchema(WEATHER), prompt: "Rome" });
  return typeof object.city === "string";
});
await report("embeddings", async () => {
  const { embeddings } = await embedMany({ model: provider.embedding(MODEL), values: TEXTS, maxRetries: 0 });
  return embeddings.length === TEXTS.length && typeof embeddings[0][0] === "number";
});
await report("context overflow", async () => {
  try {
    await generateText({ model, maxRetries: 0, prompt: LONG });
  } catch (error) {
    return APICallError.isInstance(error) && error.data.error.code === "context_length_exceeded";
  }
});
