"""A model that is another one with an adapter: one engine, and one copy of the weights, answers for both."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from turnwise.core.ports import GenerationRequest, TokenEvent
from turnwise.engine.engine import Engine
from turnwise.engine.sequence import SequenceGroup
from turnwise.models.lora_factors import LoraFactors


class AdaptedEngine:
    """An engine whose requests are all answered with an adapter (the `core.ports.Generator` port).

    They share passes with those of the base and of its other adapters, and their cache's memory, but nothing that was
    read: keys and values depend on the adapter.
    """

    is_encoder_decoder = False

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name

    @property
    def kind(self) -> str:
        """Its arithmetic: a product beside the base's rounds elsewhere than one that was merged into it."""
        return f"{self._engine.kind}-beside"

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self._engine.context_length

    def max_new_tokens(self, prompt: int) -> int:
        """Most tokens of an answer to a prompt of so many; negative where that is too long itself."""
        return self._engine.max_new_tokens(prompt)

    def submit(self, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> SequenceGroup:
        """Queue a request; raises as `Engine.submit` does."""
        own = replace(request, adapter=self._name, scope=f"{self._name}\n{request.scope}")
        return self._engine.submit(own, on_event)

    @property
    def is_healthy(self) -> bool:
        """Whether its base's engine takes requests."""
        return self._engine.is_healthy

    def close(self) -> None:
        """Nothing: the engine is its base's."""


def create_adapted_engine(engine: Engine, name: str, thin: Mapping[str, LoraFactors]) -> AdaptedEngine | None:
    """The engine's model changed by an adapter whose name nobody else has; None where the engine cannot do that."""
    return AdaptedEngine(engine, name) if engine.load_lora(name, thin) else None
