"""An engine with one LoRA adapter: base model and adapters are served by one engine with one copy of the weights."""

from collections.abc import Mapping
from dataclasses import replace

from turnwise.core.inference import EventListener, GenerationRequest
from turnwise.engine.engine import Engine
from turnwise.engine.kv_cache.prefix_tree import adapter_scope
from turnwise.engine.sequence import SequenceGroup
from turnwise.models.lora_factors import LoraFactors


class AdaptedEngine:
    """Adds an adapter to every request of an engine (implements `core.inference.InferenceEngine`).

    Requests share forward passes and memory with those of the base model and its other adapters, but no cached
    prefixes, because keys and values depend on the adapter.
    """

    is_encoder_decoder = False

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name

    @property
    def kind(self) -> str:
        """Id of the arithmetic; unmerged adapters round differently from merged ones."""
        return f"{self._engine.kind}-beside"

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and answer together."""
        return self._engine.context_length

    def max_new_tokens(self, prompt_length: int) -> int:
        """Maximum number of tokens of an answer to a prompt of this length; negative if the prompt is too long."""
        return self._engine.max_new_tokens(prompt_length)

    def submit(self, request: GenerationRequest, on_event: EventListener) -> SequenceGroup:
        """Queue a request; raises as `Engine.submit` does."""
        adapted = replace(request, adapter=self._name, scope=adapter_scope(self._name, request.scope))
        return self._engine.submit(adapted, on_event)

    @property
    def is_healthy(self) -> bool:
        """True while the base model's engine accepts requests."""
        return self._engine.is_healthy

    def close(self) -> None:
        """Unload the adapter once its last request has ended. The engine belongs to the base model and stays open."""
        self._engine.unload_lora(self._name)


def create_adapted_engine(engine: Engine, name: str, factors: Mapping[str, LoraFactors]) -> AdaptedEngine | None:
    """Load an adapter under a unique name; None if the engine does not support unmerged adapters."""
    return AdaptedEngine(engine, name) if engine.load_lora(name, factors) else None
