"""What a scenario needs to answer, computed once per version: classifier, thresholds and retrievers."""

import asyncio
import logging
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from turnwise.chat.service_path.intent_classifier import IntentClassifier, TextEncoder
from turnwise.chat.service_path.intent_training import HeldOutScores, fit_intent_head
from turnwise.chat.service_path.scenario_documents import open_scenario_retriever
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder, LexicalEncoder
from turnwise.chat.service_path.threshold_tuning import choose_threshold
from turnwise.chat.service_path.tuned_thresholds import DEFAULT_MAX_WRONG, Thresholds, read_tuned
from turnwise.core.retrieval import Retriever
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.safe_regex import compile_regex

MAX_REMOVED_VALUES = 5  # per slot and message
MAX_VERSIONS = 32  # of scenarios that are kept

log = logging.getLogger("turnwise.chat")


@dataclass(frozen=True, slots=True)
class ScenarioResources:
    """Resources of one version of a scenario.

    Attributes:
        classifier: predicts intents.
        thresholds: when a score suffices.
        retrievers: find passages, by language.
        safety_encoder: embeds messages for the classifier of safety lines; None without one, or if the embedding model
            is another one than that of its training.
    """

    classifier: IntentClassifier
    thresholds: Thresholds
    retrievers: dict[str, Retriever | None] = field(default_factory=dict)
    safety_encoder: TextEncoder | None = None


class ResourceCache:
    """Resources by the content hash of a scenario. Fitting runs in a thread, once per version."""

    def __init__(self, encoder: TextEncoder | None = None) -> None:
        """Use an encoder for the intents; None: words and character n-grams."""
        self._encoder = encoder or LexicalEncoder()
        self._resources: dict[str, ScenarioResources] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, definition: ScenarioDefinition) -> ScenarioResources:
        """The resources of a scenario."""
        key = definition.content_hash
        if (resources := self._resources.get(key)) is not None:
            return resources
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._resources:
                self._resources[key] = await open_resources(definition, self._encoder)
                while len(self._resources) > MAX_VERSIONS:
                    oldest = next(iter(self._resources))
                    del self._resources[oldest]
                    self._locks.pop(oldest, None)
        return self._resources[key]


async def open_resources(definition: ScenarioDefinition, encoder: TextEncoder) -> ScenarioResources:
    """Fit the classifier, and choose the thresholds if none are tuned for this scenario and encoder."""
    classifier, scores = await fit_classifier(definition, encoder)
    thresholds = await asyncio.to_thread(read_tuned, definition, encoder.id)
    if thresholds is None:
        chosen = Thresholds().intent
        if scores is not None:
            chosen = choose_threshold(
                scores.certainty_N, scores.correct_N, scores.weights_N, DEFAULT_MAX_WRONG
            ).threshold
            log.info("The thresholds of the scenario %s are not tuned; run: turnwise scenario tune", definition.name)
        thresholds = Thresholds(intent=chosen)
    retrievers = {
        language: await asyncio.to_thread(open_scenario_retriever, definition, language)
        for language in definition.settings.languages
    }
    return ScenarioResources(classifier, thresholds, retrievers, await choose_safety_encoder(definition, encoder))


async def choose_safety_encoder(definition: ScenarioDefinition, encoder: TextEncoder) -> TextEncoder | None:
    """The encoder, if it is an embedding model whose vectors the classifier of safety lines accepts."""
    settings = definition.safety_classifier
    if settings is None or not isinstance(encoder, EmbeddingEncoder):
        return None
    accepted = settings.model.accepts_vectors(await encoder.encode(settings.model.probes))
    if not accepted:
        log.info("The classifier '%s' was trained on another embedding model; it works without one", settings.name)
    return encoder if accepted else None


async def fit_classifier(
    definition: ScenarioDefinition, encoder: TextEncoder
) -> tuple[IntentClassifier, HeldOutScores | None]:
    """The classifier of a scenario and its held-out predictions; None with fewer than two intents."""
    texts, labels = example_messages(definition)
    intents = sorted(set(labels))
    if len(intents) < 2:
        return IntentClassifier(encoder, None), None
    clean = value_remover(definition)
    texts = [clean(text) for text in texts]
    encoder = await encoder.fit(texts)
    vectors_ND = await encoder.encode(texts)
    head, scores = await asyncio.to_thread(fit_intent_head, np.asarray(vectors_ND), labels, intents)
    return IntentClassifier(encoder, head, clean), scores


def value_remover(definition: ScenarioDefinition) -> Callable[[str], str]:
    """Removes values of slots with a pattern, such as order numbers: they tell nothing about the intent."""
    expressions = [compile_regex(slot.pattern) for slot in definition.slots.values() if slot.pattern is not None]

    def remove(text: str) -> str:
        cleaned = unicodedata.normalize("NFKC", text)
        for expression in expressions:
            for _ in range(MAX_REMOVED_VALUES):
                if (value := expression.search(cleaned)) is None:
                    break
                cleaned = cleaned.replace(value, " ")
        return " ".join(cleaned.split()) or text

    return remove


def example_messages(definition: ScenarioDefinition) -> tuple[Sequence[str], Sequence[str]]:
    """The example messages of all languages, and the intent of each."""
    pairs = [
        (text, name)
        for name, intent in sorted(definition.intents.items())
        for _, lines in sorted(intent.examples.items())
        for text in lines
    ]
    return [text for text, _ in pairs], [name for _, name in pairs]
