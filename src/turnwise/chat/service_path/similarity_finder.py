"""Finds passages by meaning: by the similarity of their vectors with that of the message.

The vectors of an embedding model have a large common part (Ethayarajh 2019, arXiv 1909.00512), and that of messages
differs from that of passages. So the mean of the passages is subtracted from every passage, and the mean of a
scenario's example messages from every message.

Each passage may have questions that it answers. Its relevance is the larger of two: its own similarity with the
message, and that of its closest question minus `QUESTION_DISCOUNT`. Shared words change the order only: they add
`WORD_WEIGHT` times the BM25 score. Shapes: P passages, Q questions, D dimensions.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnwise.chat.service_path.logistic_head import Floats
from turnwise.chat.service_path.passage_filter import readable_passage, without_instructions
from turnwise.chat.service_path.passage_finders import PassageFinder, ScoredPassage
from turnwise.chat.service_path.scenario_documents import passage_questions
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder
from turnwise.core.errors import TurnwiseError
from turnwise.core.retrieval import Passage
from turnwise.text.lexical_search import LexicalIndex

log = logging.getLogger("turnwise.chat")

WORD_WEIGHT = 0.01  # of a BM25 score; a cosine has the weight 1
QUESTION_DISCOUNT = 0.15  # subtracted from the cosine of two messages
CONTEXT_WEIGHT = 0.5  # of the vector of the last two messages; that of the last message alone has the weight 1


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """Vectors of passages.

    Attributes:
        passages_PD: vectors of the passages less their mean, of length 1.
        questions_QD: vectors of their questions less `query_mean_D`, of length 1.
        owners_Q: index of the passage that answers each question.
        query_mean_D: what is subtracted from the vectors of messages.
    """

    passages_PD: Floats
    questions_QD: Floats
    owners_Q: NDArray[np.int64]
    query_mean_D: Floats


async def embed_passages(
    encoder: EmbeddingEncoder, passages: Sequence[Passage], messages: Sequence[str]
) -> PassageVectors:
    """Embed passages with their headings, and their questions.

    Args:
        encoder: the embedding model.
        passages: at least one.
        messages: typical messages; without any, the mean of the passages is subtracted from queries.

    Raises:
        TurnwiseError: the model failed.
    """
    vectors_PD = await encoder.embed([passage_text(passage) for passage in passages], "passage")
    mean_D = vectors_PD.mean(axis=0)
    query_mean_D = (await encoder.embed(messages, "query")).mean(axis=0) if messages else mean_D
    questions = [(index, text) for index, passage in enumerate(passages) for text in passage_questions(passage)]
    questions_QD = np.zeros((0, len(mean_D)))
    if questions:
        questions_QD = _unit(await encoder.embed([text for _, text in questions], "query") - query_mean_D)
    owners_Q = np.array([index for index, _ in questions], dtype=np.int64)
    return PassageVectors(_unit(vectors_PD - mean_D), questions_QD, owners_Q, query_mean_D)


def passage_text(passage: Passage) -> str:
    """What is embedded of a passage: its innermost heading and its text, without what addresses a model."""
    headings = () if passage.location is None else passage.location.headings
    text = without_instructions(passage.text)
    return f"{headings[-1]}: {text}" if headings else text


class SimilarityFinder:
    """Finds passages by the similarity of vectors (implements `passage_finders.PassageFinder`)."""

    def __init__(
        self,
        encoder: EmbeddingEncoder,
        passages: Sequence[Passage],
        vectors: PassageVectors,
        fallback: PassageFinder | None = None,
    ) -> None:
        """Search passages.

        Args:
            encoder: the embedding model.
            passages: what is searched.
            vectors: the result of `embed_passages` for them.
            fallback: answers while the model fails; None: nothing is found then.
        """
        self._encoder, self._passages, self._vectors, self._fallback = encoder, tuple(passages), vectors, fallback
        self._index = LexicalIndex("\n".join([passage_text(p), *passage_questions(p)]) for p in passages)

    async def find(self, messages: Sequence[str], k: int) -> list[ScoredPassage]:
        """See `PassageFinder.find`."""
        try:
            query_D = await self._query_vector(messages)
        except TurnwiseError as error:
            log.warning("The embedding model failed; passages are found by words: %s", error)
            return [] if self._fallback is None else await self._fallback.find(messages, k)
        return await asyncio.to_thread(self._rank, messages[-1], query_D, k)

    async def _query_vector(self, messages: Sequence[str]) -> Floats:
        """The vector of the message; after another message, averaged with that of both together."""
        texts = [messages[-1], *(["\n".join(messages[-2:])] if len(messages) > 1 else [])]
        vectors_TD = _unit(await self._encoder.embed(texts, "query") - self._vectors.query_mean_D)
        weights_T = np.array([1.0, CONTEXT_WEIGHT])[: len(texts)]
        return _unit(weights_T @ vectors_TD)

    def _rank(self, message: str, query_D: Floats, k: int) -> list[ScoredPassage]:
        vectors = self._vectors
        similarities_P = vectors.passages_PD @ query_D
        np.maximum.at(similarities_P, vectors.owners_Q, vectors.questions_QD @ query_D - QUESTION_DISCOUNT)
        scores_P = similarities_P.copy()
        for match in self._index.search(message, len(self._passages), count_repeats=False):
            scores_P[match.index] += WORD_WEIGHT * match.score
        results = []
        for index in np.argsort(-scores_P, kind="stable")[:k].tolist():
            original = self._passages[index]
            if (passage := readable_passage(original)) is not None:
                results.append(ScoredPassage(passage, original, float(similarities_P[index]), "similarity"))
        return results


def _unit(vectors: Floats) -> Floats:
    """Vectors of length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
