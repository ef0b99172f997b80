"""Prompts and checks that the tests of all clients share."""

import pydantic

CAPABILITIES = (
    "chat", "stream", "tool loop", "streamed tool loop", "structured output", "embeddings", "context overflow",
)  # fmt: skip

MODEL = "box"
HELLO = "Hello, who are you?"
QUESTION = "The weather in Rome?"
ASK = {"role": "user", "content": QUESTION}
LONG = "word " * 30_000  # longer than the context of the bundled model
TEXTS = [f"text number {i}" for i in range(150)]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "get_weather", "description": "The weather of a city.", "parameters": WEATHER}
CHAT_TOOL = {"type": "function", "function": FUNCTION}
RESPONSE_TOOL = {"type": "function", "strict": True, **FUNCTION}


class Weather(pydantic.BaseModel):
    """The weather of a city."""

    city: str = pydantic.Field(max_length=12)
    days: int = pydantic.Field(ge=1, le=7)
