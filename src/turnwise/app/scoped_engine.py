"""An engine of two models: one answers the questions of a scope, the other one all others."""

from turnwise.core.inference import EventListener, GenerationRequest, InferenceEngine, RequestHandle
from turnwise.text.question_scope import QuestionScope


class ScopedEngine:
    """Chooses the model by the last user message (implements `core.inference.InferenceEngine`).

    A request without a user message, such as one for a summary or for the continuation of a text, is outside the scope.
    Both models have the same tokenizer and template.

    Args:
        scope: the questions of `inside`.
        inside: engine of the model with the scope.
        outside: engine of the model that it was trained from.
    """

    def __init__(self, scope: QuestionScope, inside: InferenceEngine, outside: InferenceEngine) -> None:
        self._scope, self._inside, self._outside = scope, inside, outside
        self.is_encoder_decoder = inside.is_encoder_decoder

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and answer together, of both models."""
        return min(self._inside.context_length, self._outside.context_length)

    def max_new_tokens(self, prompt_length: int) -> int:
        """Tokens that may follow a prompt, whichever model answers."""
        return min(self._inside.max_new_tokens(prompt_length), self._outside.max_new_tokens(prompt_length))

    @property
    def is_healthy(self) -> bool:
        """True while both models accept requests."""
        return self._inside.is_healthy and self._outside.is_healthy

    def submit(self, request: GenerationRequest, on_event: EventListener) -> RequestHandle:
        """Queue a request on the engine of the model that answers its question."""
        is_inside = bool(request.question) and self._scope.contains(request.question)
        return (self._inside if is_inside else self._outside).submit(request, on_event)

    def close(self) -> None:
        """Do nothing: the engines belong to others."""
