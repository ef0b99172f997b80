"""An engine with a shorter context, to measure how a model does when a conversation does not fit."""

from turnwise.core.errors import InvalidParameter
from turnwise.core.inference import EventListener, GenerationRequest, InferenceEngine, RequestHandle

MIN_CONTEXT = 16  # tokens


class ContextLimitedEngine:
    """Another engine, with at most `max_model_len` tokens of context (implements `core.inference.InferenceEngine`).

    Raises:
        InvalidParameter: the limit is less than `MIN_CONTEXT` or more than the context of the engine.
    """

    def __init__(self, engine: InferenceEngine, max_model_len: int) -> None:
        if not MIN_CONTEXT <= max_model_len <= engine.context_length:
            raise InvalidParameter(
                "max_model_len",
                f"--max-model-len must be from {MIN_CONTEXT} to {engine.context_length}, the context of the model.",
            )
        self._engine, self._max_model_len = engine, max_model_len
        self.is_encoder_decoder = engine.is_encoder_decoder

    @property
    def context_length(self) -> int:
        """The limit, in tokens of prompt and response together."""
        return self._max_model_len

    @property
    def is_healthy(self) -> bool:
        """As the engine."""
        return self._engine.is_healthy

    def max_new_tokens(self, prompt_length: int) -> int:
        """Tokens that may follow a prompt."""
        return min(self._engine.max_new_tokens(prompt_length), self._max_model_len - prompt_length)

    def submit(self, request: GenerationRequest, on_event: EventListener) -> RequestHandle:
        """Start a request on the engine."""
        return self._engine.submit(request, on_event)

    def close(self) -> None:
        """Do nothing: the engine belongs to others."""
