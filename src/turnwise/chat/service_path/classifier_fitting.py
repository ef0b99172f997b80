"""Fits the intent classifier of a scenario, or reads it from the cache of an earlier fit.

The cache is keyed by everything that the result depends on: the intents with their examples, the patterns of slots, the
encoder and the version of the method.
"""

import asyncio
import hashlib
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from turnwise.chat.service_path.classifier_files import read_classifier, write_classifier
from turnwise.chat.service_path.intent_classifier import IntentClassifier, TextEncoder
from turnwise.chat.service_path.intent_training import HeldOutScores, fit_intent_head
from turnwise.chat.service_path.threshold_tuning import choose_threshold
from turnwise.chat.service_path.tuned_thresholds import DEFAULT_MAX_WRONG, Thresholds, tuned_hash
from turnwise.chat.stepwise_executor import StepwiseExecutor
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.safe_regex import compile_regex

MAX_REMOVED_VALUES = 5  # per slot and message
METHOD_VERSION = 2  # change it with everything that gives another classifier for the same intents


@dataclass(frozen=True, slots=True)
class FittedClassifier:
    """A classifier.

    Attributes:
        classifier: the classifier.
        scores: its held-out predictions; None with fewer than two intents.
        thresholds: thresholds that answer few held-out messages wrongly, for a scenario that is not tuned.
    """

    classifier: IntentClassifier
    scores: HeldOutScores | None
    thresholds: Thresholds = field(default_factory=Thresholds)

    @classmethod
    def with_scores(cls, classifier: IntentClassifier, scores: HeldOutScores) -> "FittedClassifier":
        """A classifier with the thresholds that its scores give."""
        chosen = choose_threshold(scores.certainty_N, scores.correct_N, scores.weights_N, DEFAULT_MAX_WRONG)
        return cls(classifier, scores, Thresholds(intent=chosen.threshold))


def classifier_key(definition: ScenarioDefinition, encoder: TextEncoder) -> str:
    """Hash of everything that the classifier of a scenario depends on."""
    patterns = [slot.pattern for _, slot in sorted(definition.slots.items()) if slot.pattern is not None]
    content = json.dumps([METHOD_VERSION, tuned_hash(definition, encoder.id), patterns], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


async def fit_classifier(
    definition: ScenarioDefinition, encoder: TextEncoder, cache: Path | None = None
) -> FittedClassifier:
    """The classifier of a scenario.

    Args:
        definition: the scenario.
        encoder: encodes messages.
        cache: folder to keep the result in; None: keep nothing.

    Raises:
        TurnwiseError: the encoder failed.
        SaveFailed: the result cannot be written.
    """
    texts, labels = example_messages(definition)
    intents = sorted(set(labels))
    if len(intents) < 2:
        return FittedClassifier(IntentClassifier(encoder, None), None)
    if (cached := await cached_classifier(definition, encoder, cache)) is not None:
        return cached
    clean = value_remover(definition)
    texts = [clean(text) for text in texts]
    encoder = await encoder.fit(texts)
    vectors_ND = np.asarray(await encoder.encode(texts))
    executor = StepwiseExecutor("intents")  # in steps, so that a server that stops waits for one step only
    head, scores = await executor.run("", fit_intent_head(vectors_ND, labels, intents))
    if cache is not None and encoder.fitted_D is not None:
        path = _cache_file(cache, definition, encoder)
        await asyncio.to_thread(write_classifier, path, head, scores, encoder.fitted_D)
    return FittedClassifier.with_scores(IntentClassifier(encoder, head, clean), scores)


async def cached_classifier(
    definition: ScenarioDefinition, encoder: TextEncoder, cache: Path | None
) -> FittedClassifier | None:
    """The classifier of an earlier fit; None if there is none, or if its file is damaged."""
    if cache is None:
        return None
    content = await asyncio.to_thread(read_classifier, _cache_file(cache, definition, encoder))
    if content is None:
        return None
    head, scores, fitted_D = content
    classifier = IntentClassifier(encoder.with_fitted(fitted_D), head, value_remover(definition))
    return FittedClassifier.with_scores(classifier, scores)


def _cache_file(cache: Path, definition: ScenarioDefinition, encoder: TextEncoder) -> Path:
    return cache / f"{classifier_key(definition, encoder)}.safetensors"


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
