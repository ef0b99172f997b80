"""One engine for a base model and all adapters of it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnwise.engine.adapted_engine import AdaptedEngine
    from turnwise.engine.engine import Engine

CreateEngine = Callable[[Path], "Engine"]


class SharedBaseEngines:
    """Engines of models that one process serves; adapters run unmerged on the engine of their base model.

    The base weights are in memory once, and one batch serves the requests of all adapters. An adapter that the native
    runner cannot apply unmerged gets an engine with merged weights.
    """

    def __init__(self) -> None:
        self._engines: dict[Path, Engine] = {}  # by resolved folder of the base model

    def __len__(self) -> int:
        return len(self._engines)

    def engine(self, folder: Path, create_engine: CreateEngine, device: str) -> "Engine | AdaptedEngine":
        """Return the engine for a model or adapter folder; `create_engine` loads a folder that has none yet."""
        from turnwise.engine.adapted_engine import create_adapted_engine
        from turnwise.engine.native.native_runner import fits
        from turnwise.models.adapter_config import is_adapter
        from turnwise.models.adapters import load_adapter
        from turnwise.models.checkpoint import read_decoder_config
        from turnwise.models.lora_factors import changes_only_layers, compute_lora_factors

        if not is_adapter(folder):
            return self._base_engine(folder, create_engine)
        adapter = load_adapter(folder)
        factors = compute_lora_factors(adapter)
        if device != "cpu" or not fits(read_decoder_config(adapter.base)) or not changes_only_layers(factors):
            return create_engine(folder)
        base_engine = self._base_engine(adapter.base, create_engine)
        return create_adapted_engine(base_engine, str(folder.resolve()), factors) or create_engine(folder)

    def _base_engine(self, folder: Path, create_engine: CreateEngine) -> "Engine":
        engine = self._engines.get(folder.resolve())
        if engine is None:
            engine = self._engines[folder.resolve()] = create_engine(folder)
        return engine
