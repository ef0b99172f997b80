"""The attention of served models, computed from their files: the compiled library keeps no attention weights."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.app.scoped_engine import ScopedEngine
from turnwise.chat.attention_reader import AttentionReader
from turnwise.core.errors import Unavailable
from turnwise.core.inference import GenerationRequest, InferenceEngine
from turnwise.core.steps import Steps
from turnwise.models.model_folders import weights_digest
from turnwise.models.model_kind import full_model_folder, is_native

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from turnwise.models.attention_weights import KeptWeights


class FolderAttention:
    """Computes the attention of the model in a folder (implements `core.attention.AttentionComputer`)."""

    def __init__(self, folder: Path) -> None:
        """Prepare the computation for a decoder or an adapter, whose weights are read when they are needed."""
        from turnwise.models.checkpoint import read_decoder_config

        config = read_decoder_config(full_model_folder(folder))
        self.num_layers, self.num_heads = config.num_layers, config.num_heads
        self._folder, self._digest = folder, _digest(folder)
        self._weights: KeptWeights | None = None

    def compute(self, ids: tuple[int, ...]) -> "Steps[NDArray[float32]]":
        """Weights of the last token, by layer, head and token. Raises `Unavailable` if the files have changed."""
        from turnwise.models.attention_weights import KeptWeights, last_token_attention
        from turnwise.models.checkpoint import Checkpoint
        from turnwise.models.torch_threads import use_one_thread

        use_one_thread()  # answers need the other cores
        weights = self._weights
        if weights is None:
            if _digest(self._folder) != self._digest:
                raise Unavailable("The files of this model have changed since it was loaded. Restart the server.")
            weights = self._weights = KeptWeights(Checkpoint(self._folder))
        weights_NHT = yield from last_token_attention(weights, ids)
        return weights_NHT.numpy()

    def release(self) -> None:
        """Free the weights, until the next computation."""
        self._weights = None


def open_attention(folder: Path, outside: Path | None, engine: InferenceEngine) -> AttentionReader | None:
    """The attention of a model that is served by `engine`; None if our decoder does not compute it.

    Args:
        folder: folder of the model or adapter.
        outside: model that answers questions outside the scope of the one in `folder`, if it has a scope.
        engine: engine of both.
    """
    if not all(is_native(path) for path in (folder, outside) if path is not None):
        return None
    inside_attention = FolderAttention(folder)
    if outside is None or not isinstance(engine, ScopedEngine):
        return AttentionReader(lambda _: inside_attention)
    return AttentionReader(_by_scope(engine, inside_attention, FolderAttention(outside)))


def _by_scope(
    engine: ScopedEngine, inside: FolderAttention, outside: FolderAttention
) -> Callable[[GenerationRequest], FolderAttention]:
    return lambda request: inside if engine.is_inside(request) else outside


def _digest(folder: Path) -> str:
    """Digest of all weights that the model has: those of an adapter and of its base."""
    return f"{weights_digest(folder)} {weights_digest(full_model_folder(folder))}"
