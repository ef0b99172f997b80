"""The encoder of a knowledge base: an embedding model of the model store.

Shapes: N texts, D dimensions.
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnwise.app.embedding_services import check_embedding_model, open_embedding_service
from turnwise.chat.embedding_service import EncoderEmbeddingService
from turnwise.core.embedding_service import InputType
from turnwise.core.errors import ModelNotFound
from turnwise.core.knowledge import TextEncoder
from turnwise.models.encoder_config import read_encoder_config
from turnwise.models.model_folders import weight_files

DEFAULT_ENCODERS = ("e5-small", "minilm")  # the first one that is pulled; e5-small reads 100 languages
NO_ENCODER = "none"
FINGERPRINT_FILES = (
    "config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
    "1_Pooling/config.json",
)  # fmt: skip


class ModelEncoder:
    """Embeds texts with a model (implements `core.knowledge.TextEncoder`). Thread-safe.

    The weights are loaded at the first text, so that opening a knowledge base costs nothing.

    Args:
        model: name or folder of an embedding model.
        threads: number of threads; None is the default of the engine.

    Raises:
        ModelNotFound: there is no such model.
        UserError: the model is not an encoder.
    """

    def __init__(self, model: str, threads: int | None = None) -> None:
        self.name = model
        self._threads = threads
        self._folder = check_embedding_model(model, None)
        self._dimension = read_encoder_config(self._folder).hidden_size
        self._lock = threading.Lock()
        self._opened: EncoderEmbeddingService | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and of the settings that the vectors depend on."""
        paths = [*weight_files(self._folder), *(self._folder / name for name in FINGERPRINT_FILES)]
        hashes = [(path.name, _hash_file(path)) for path in paths if path.is_file()]
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._dimension

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of a query, shape `(D,)`. A longer query is truncated."""
        vector_D: NDArray[np.float32] = self._embed([text], "query")[0]
        return vector_D

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of passages, shape `(N, D)`. Longer passages are truncated."""
        return self._embed(texts, "passage")

    def _embed(self, texts: Sequence[str], input_type: InputType) -> NDArray[np.float32]:
        service = self._service()
        sequences = [service.tokenizer.encode(text, input_type, -1)[0] for text in texts]
        vectors_ND = np.empty((len(texts), self._dimension), np.float32)
        for indices in service.embedder.batches([len(ids) for ids in sequences]):
            vectors_ND[list(indices)] = service.embedder.embed([sequences[index] for index in indices])
        return vectors_ND

    def _service(self) -> EncoderEmbeddingService:
        with self._lock:
            if self._opened is None:
                self._opened = open_embedding_service(self.name, threads=self._threads)
            return self._opened


def default_encoder() -> str | None:
    """The name of the first default encoder that is on this machine; None if there is none."""
    for name in DEFAULT_ENCODERS:
        try:
            check_embedding_model(name, None)
        except ModelNotFound:
            continue
        return name
    return None


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_: type[TextEncoder] = ModelEncoder  # the type checker compares it with the port
