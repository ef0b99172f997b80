// What all clients are asked, and how a result is reported.
export const url = process.env.OPENAI_BASE_URL;
export const MODEL = "box";
export const HELLO = "Hello, who are you?";
export const LONG = "word ".repeat(30_000);
export const TEXTS = Array.from({ length: 150 }, (_, i) => `text number ${i}`);
export const WEATHER = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 } },
  required: ["city"],
  additionalProperties: false,
};

export async function report(capability, attempt) {
  let result;
  try {
    result = (await attempt()) === true ? "passed" : "a wrong answer";
  } catch (error) {
    result = String(error?.stack ?? error);
  }
  console.log(JSON.stringify({ capability, result }));
}
