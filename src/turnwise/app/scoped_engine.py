"""An engine of two models: one answers the questions of a scope, the other one all others."""

from dataclasses import dataclass

from turnwise.core.inference import EventListener, GenerationRequest, InferenceEngine, RequestHandle
from turnwise.text.question_scope import QuestionScope


@dataclass(frozen=True, slots=True)
class AnsweringModel:
    """One of the two models.

    Attributes:
        engine: its engine.
        fingerprint: fingerprint of the model as it is served alone.
    """

    engine: InferenceEngine
    fingerprint: str


class ScopedEngine:
    """Chooses the model by the question (implements `core.inference.InferenceEngine`).

    A request without a user message, such as one for a summary or for the continuation of a text, is outside the scope.
    Both models have the same tokenizer and template.

    Args:
        scope: the questions of `inside`.
        inside: the model with the scope.
        outside: the model that it was trained from.
    """

    def __init__(self, scope: QuestionScope, inside: AnsweringModel, outside: AnsweringModel) -> None:
        self._scope, self._models = scope, (inside, outside)
        self._inside, self._outside = inside.engine, outside.engine
        self.is_encoder_decoder = self._inside.is_encoder_decoder

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
        return self._model_of(request).engine.submit(request, on_event)

    def fingerprint_of(self, request: GenerationRequest) -> str:
        """Fingerprint of the model that answers a request."""
        return self._model_of(request).fingerprint

    def is_inside(self, request: GenerationRequest) -> bool:
        """True if the model with the scope answers a request."""
        return bool(request.question.text) and self._scope.contains(request.question)

    def _model_of(self, request: GenerationRequest) -> AnsweringModel:
        inside, outside = self._models
        return inside if self.is_inside(request) else outside

    def close(self) -> None:
        """Do nothing: the engines belong to others."""
