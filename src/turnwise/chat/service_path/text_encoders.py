"""Encoders of messages for the intent classifier: an embedding model, or, without one, character and word n-grams."""

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from turnwise.chat.service_path.logistic_head import Floats
from turnwise.chat.service_path.text_evidence import content_words
from turnwise.core.embedding_service import EmbeddingRequest, EmbeddingService, InputType

LEXICAL_DIMENSION = 2048
NGRAM_LENGTHS = (3, 4)
BATCH_SIZE = 64


class EmbeddingEncoder:
    """Vectors of an embedding model, less the mean of a scenario's messages, and scaled to length 1.

    All vectors of an embedding model have much in common; without the mean, the differences between messages count.
    """

    def __init__(self, service: EmbeddingService, mean_D: Floats | None = None) -> None:
        """Use a model; `mean_D` is subtracted."""
        self._service, self._mean_D = service, mean_D

    @property
    def id(self) -> str:
        """Name and time of the model."""
        return f"{self._service.name}:{self._service.created}"

    @property
    def fitted_D(self) -> Floats | None:
        """The mean."""
        return self._mean_D

    def with_fitted(self, fitted_D: Floats) -> "EmbeddingEncoder":
        """An encoder that subtracts this mean."""
        return EmbeddingEncoder(self._service, fitted_D)

    async def fit(self, texts: Sequence[str]) -> "EmbeddingEncoder":
        """An encoder that subtracts the mean of these texts."""
        return EmbeddingEncoder(self._service, (await self.embed(texts, "query")).mean(axis=0))

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Vectors of shape (N, D), with the prefix of queries."""
        vectors_ND = await self.embed(texts, "query")
        if self._mean_D is None:
            return vectors_ND
        centred_ND = vectors_ND - self._mean_D
        return np.asarray(centred_ND / np.maximum(np.linalg.norm(centred_ND, axis=1, keepdims=True), 1e-12))

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Floats:
        """Vectors of shape (N, D) as the model gives them, with the prefix of `input_type`."""
        rows: list[Sequence[float]] = []
        for start in range(0, len(texts), BATCH_SIZE):
            batch = tuple(texts[start : start + BATCH_SIZE])
            request = EmbeddingRequest(batch, input_type=input_type, truncate_prompt_tokens=-1)
            rows.extend((await self._service.embed(request)).vectors)
        return np.asarray(rows, dtype=np.float64)


class LexicalEncoder:
    """Hashed counts of words and of character n-grams, which tolerate misspellings. Needs no model."""

    id = "lexical:1"

    def __init__(self, weights_D: Floats | None = None) -> None:
        """Weigh the features; None: equally."""
        self._weights_D = np.ones(LEXICAL_DIMENSION) if weights_D is None else weights_D

    @property
    def fitted_D(self) -> Floats | None:
        """The weights."""
        return self._weights_D

    def with_fitted(self, fitted_D: Floats) -> "LexicalEncoder":
        """An encoder with these weights."""
        return LexicalEncoder(fitted_D)

    async def fit(self, texts: Sequence[str]) -> "LexicalEncoder":
        """An encoder that weighs features by their inverse document frequency in these texts."""
        frequencies_D = (_hashed_counts(texts) != 0).sum(axis=0)
        return LexicalEncoder(np.log(1 + len(texts) / (1 + frequencies_D)))

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Vectors of shape (N, `LEXICAL_DIMENSION`)."""
        vectors_ND = _hashed_counts(texts) * self._weights_D
        norms_N = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        return np.asarray(vectors_ND / np.maximum(norms_N, 1e-12))


def _hashed_counts(texts: Sequence[str]) -> Floats:
    """Feature hashing with signs (Weinberger et al. 2009) of logarithmic counts."""
    counts_ND = np.zeros((len(texts), LEXICAL_DIMENSION))
    for row_D, text in zip(counts_ND, texts, strict=True):
        for feature, count in _features(text).items():
            digest = hashlib.blake2b(feature.encode(), digest_size=8).digest()
            sign = 1.0 if digest[7] & 1 else -1.0
            row_D[int.from_bytes(digest[:4], "little") % LEXICAL_DIMENSION] += sign * (1 + math.log(count))
    return counts_ND


def _features(text: str) -> Counter[str]:
    features = Counter(f"w:{word}" for word in content_words(text) for _ in range(2))
    normalized = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    padded = f" {normalized} "
    for length in NGRAM_LENGTHS if normalized.isascii() else (1, 2):
        features.update(padded[start : start + length] for start in range(len(padded) - length + 1))
    return features
