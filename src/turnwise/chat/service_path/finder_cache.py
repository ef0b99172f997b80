"""The passage finders of scenarios, by language.

Texts are live at once: until the vectors of an edited scenario are computed, in the background, passages are found by
words. Vectors are kept in a folder for the next start.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from turnwise.chat.service_path.background_tasks import BackgroundTasks
from turnwise.chat.service_path.document_reader import DocumentReader
from turnwise.chat.service_path.intent_classifier import TextEncoder
from turnwise.chat.service_path.passage_finders import PassageFinder, WordFinder
from turnwise.chat.service_path.scenario_documents import (
    ScenarioRetriever,
    passage_questions,
    scenario_passages,
    template_passages,
)
from turnwise.chat.service_path.similarity_finder import (
    PassageVectors,
    SimilarityFinder,
    embed_passages,
    passage_text,
)
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder
from turnwise.chat.service_path.versions import keep_version
from turnwise.core.errors import SaveFailed
from turnwise.core.files import atomic_write
from turnwise.core.retrieval import Passage
from turnwise.scenarios.definition import ScenarioDefinition

MAX_EMBEDDED_TEXTS = 4000  # passages and questions of a language; larger documents belong in a knowledge base
VECTORS_VERSION = 1  # change it with everything that gives other vectors for the same texts

Finders = Mapping[str, PassageFinder | None]
"""Finders by language; None if the scenario has no documents in it."""

log = logging.getLogger("turnwise.chat")


class FinderCache:
    """Finders of the versions of scenarios that were asked for last."""

    def __init__(self, encoder: TextEncoder, folder: Path | None = None, *, waits: bool = False) -> None:
        """Create an empty cache.

        Args:
            encoder: embeds passages if it is an embedding model; with others, passages are found by words.
            folder: keeps vectors; None: they are computed at every start.
            waits: `get` waits for the vectors.
        """
        self._encoder, self._folder, self._waits = encoder, folder, waits
        self._reader = DocumentReader()
        self._documents: dict[str, Mapping[str, list[Passage]]] = {}  # by content hash, then by language
        self._by_words: dict[str, Finders] = {}
        self._by_similarity: dict[str, Finders] = {}
        self._tasks = BackgroundTasks()

    async def get(self, definition: ScenarioDefinition) -> Finders:
        """The finders of a scenario. Does not wait for vectors unless the cache waits; then raises their errors."""
        key = definition.content_hash
        if key in self._by_similarity:
            return self._by_similarity[key]
        if key not in self._by_words:
            await self._find_by_words(definition)
        encoder = self._encoder
        if isinstance(encoder, EmbeddingEncoder) and (self._waits or not self._tasks.has_failed_lately(key)):
            task = self._tasks.start(
                key,
                lambda: self._embed(definition, encoder),
                f"The passages of the scenario {definition.name} could not be embedded",
            )
            if self._waits:
                await asyncio.shield(task)
        return self._by_similarity.get(key) or self._by_words[key]

    async def wait(self, definition: ScenarioDefinition) -> None:
        """Wait until the vectors of a scenario are computed or have failed."""
        await self.get(definition)
        if (task := self._tasks.task(definition.content_hash)) is not None:
            await asyncio.wait([task])

    async def _find_by_words(self, definition: ScenarioDefinition) -> None:
        documents, finders = {}, {}
        for language in definition.settings.languages:
            documents[language] = await asyncio.to_thread(scenario_passages, definition, language, self._reader)
            finders[language] = await asyncio.to_thread(_word_finder, documents[language])
        keep_version(self._documents, definition.content_hash, documents)
        keep_version(self._by_words, definition.content_hash, finders)

    async def _embed(self, definition: ScenarioDefinition, encoder: EmbeddingEncoder) -> None:
        by_words = self._by_words[definition.content_hash]
        finders = dict(by_words)
        for language, documents in self._documents[definition.content_hash].items():
            passages = [*documents, *template_passages(definition, language)]
            examples = [text for intent in definition.intents.values() for text in intent.examples.get(language, ())]
            num_texts = sum(1 + len(passage_questions(passage)) for passage in passages) + len(examples)
            if documents and num_texts <= MAX_EMBEDDED_TEXTS:
                vectors = await _vectors(encoder, passages, examples, self._folder)
                fallback = by_words[language]
                finders[language] = await asyncio.to_thread(SimilarityFinder, encoder, passages, vectors, fallback)
        keep_version(self._by_similarity, definition.content_hash, finders)


def _word_finder(passages: Sequence[Passage]) -> PassageFinder | None:
    return WordFinder(ScenarioRetriever(passages)) if passages else None


async def _vectors(
    encoder: EmbeddingEncoder, passages: Sequence[Passage], examples: Sequence[str], folder: Path | None
) -> PassageVectors:
    """The vectors of passages, from the folder or computed."""
    if folder is None:
        return await embed_passages(encoder, passages, examples)
    path = folder / f"passages-{await asyncio.to_thread(_content_key, encoder.id, passages, examples)}.safetensors"
    if (vectors := await asyncio.to_thread(_read_vectors, path, len(passages))) is None:
        vectors = await embed_passages(encoder, passages, examples)
        arrays: dict[str, NDArray[np.generic]] = {
            "passages": vectors.passages_PD, "questions": vectors.questions_QD, "owners": vectors.owners_Q,
            "query_mean": vectors.query_mean_D,
        }  # fmt: skip
        content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        try:
            await asyncio.to_thread(atomic_write, path, content)
        except SaveFailed as error:
            log.warning("The vectors of passages are not kept for the next start: %s", error)
    return vectors


def _content_key(encoder_id: str, passages: Sequence[Passage], examples: Sequence[str]) -> str:
    """Hash of everything that the vectors depend on."""
    texts = [[passage_text(passage), passage_questions(passage)] for passage in passages]
    content = json.dumps([VECTORS_VERSION, encoder_id, texts, list(examples)])
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _read_vectors(path: Path, num_passages: int) -> PassageVectors | None:
    """Vectors of an earlier start; None if there is no such file, or if it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            names = ("passages", "questions", "owners", "query_mean")
            vectors = PassageVectors(*(file.get_tensor(name) for name in names))
        _check_shapes(vectors, num_passages)
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        log.warning("The cached vectors in %s are damaged and are computed again: %s", path, error)
        return None
    return vectors


def _check_shapes(vectors: PassageVectors, num_passages: int) -> None:
    """Raise `ValueError` if the arrays do not fit together."""
    (dimension,), owners_Q = vectors.query_mean_D.shape, vectors.owners_Q
    is_right = (
        vectors.passages_PD.shape == (num_passages, dimension)
        and vectors.questions_QD.shape == (len(owners_Q), dimension)
        and bool(((owners_Q >= 0) & (owners_Q < num_passages)).all())
        and all(np.isfinite(array).all() for array in (vectors.passages_PD, vectors.questions_QD))
    )
    if not is_right:
        raise ValueError("the arrays do not fit together")
