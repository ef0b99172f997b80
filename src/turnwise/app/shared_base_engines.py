"""One engine for a base model and all adapters of it."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from turnwise.models.model_folders import weights_digest

if TYPE_CHECKING:
    from turnwise.engine.adapted_engine import AdaptedEngine
    from turnwise.engine.engine import Engine

CreateEngine = Callable[[Path], "Engine"]
AnyEngine = TypeVar("AnyEngine", bound="Engine | AdaptedEngine")


@dataclass(slots=True)
class _SharedEngine:
    engine: "Engine | AdaptedEngine"
    num_users: int = 0


class SharedBaseEngines:
    """Engines of models that one process serves; adapters run unmerged on the engine of their base model.

    The base weights are in memory once, and one batch serves the requests of all adapters. An adapter that the native
    runner cannot apply unmerged gets an engine with merged weights. Engines and adapters are identified by the digest
    of their weights, so new weights in the same folder never meet the cache of the old ones. Each is closed when its
    last user is.
    """

    def __init__(self) -> None:
        self._shared: dict[str, _SharedEngine] = {}  # by digest of the weights; of an adapter also that of its base
        self._lock = threading.Lock()  # versions are loaded and closed in several threads

    def __len__(self) -> int:
        """Number of engines and unmerged adapters in memory."""
        return len(self._shared)

    def open(
        self, stack: ExitStack, folder: Path, create_engine: CreateEngine, device: str
    ) -> "Engine | AdaptedEngine":
        """Return the engine for a model or adapter folder. It is used until `stack` is closed.

        Args:
            stack: releases the engine.
            folder: folder of the model or adapter.
            create_engine: loads a folder that has no engine yet; an adapter is merged.
            device: "cpu" or "cuda".
        """
        from turnwise.engine.adapted_engine import create_adapted_engine
        from turnwise.engine.native.native_runner import fits
        from turnwise.models.adapter_config import is_adapter
        from turnwise.models.adapters import load_adapter
        from turnwise.models.checkpoint import read_decoder_config
        from turnwise.models.lora_factors import changes_only_layers, compute_lora_factors

        with self._lock:
            digest = weights_digest(folder)
            if not is_adapter(folder):
                return self._acquire(stack, digest, lambda: create_engine(folder))
            adapter = load_adapter(folder)
            base_digest, factors = weights_digest(adapter.base), compute_lora_factors(adapter)
            is_unmerged = device == "cpu" and fits(read_decoder_config(adapter.base)) and changes_only_layers(factors)
            base_engine = (
                self._acquire(stack, base_digest, lambda: create_engine(adapter.base)) if is_unmerged else None
            )

            def create() -> "Engine | AdaptedEngine":
                adapted = None if base_engine is None else create_adapted_engine(base_engine, digest, factors)
                return create_engine(folder) if adapted is None else adapted

            return self._acquire(stack, f"{base_digest}-{digest}", create)

    def _acquire(self, stack: ExitStack, digest: str, create: Callable[[], AnyEngine]) -> AnyEngine:
        """The engine with this digest, which `create` makes if there is none. The caller holds the lock."""
        shared = self._shared.get(digest)
        if shared is None:
            shared = self._shared[digest] = _SharedEngine(create())
        shared.num_users += 1
        stack.callback(self._release, digest)
        return cast("AnyEngine", shared.engine)

    def _release(self, digest: str) -> None:
        with self._lock:
            shared = self._shared[digest]
            shared.num_users -= 1
            if not shared.num_users:
                del self._shared[digest]
                shared.engine.close()
