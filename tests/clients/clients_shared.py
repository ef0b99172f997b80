"""What all clients are asked."""

CAPABILITIES = (
    "chat", "stream", "tool loop", "streamed tool loop", "structured output", "embeddings", "context overflow",
)  # fmt: skip

MODEL = "box"
HELLO = "Hello, who are you?"
LONG = "word " * 30_000  # more than the context of the model in the package
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
