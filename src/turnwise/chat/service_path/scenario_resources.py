"""What a scenario needs to answer: finders and thresholds of its present texts, and a classifier of its intents.

Texts are live at once. A classifier is fitted in the background: until it is ready, the one of the version before
answers, or the comparison with example messages.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from turnwise.chat.service_path.background_tasks import BackgroundTasks
from turnwise.chat.service_path.classifier_fitting import (
    FittedClassifier,
    cached_classifier,
    classifier_key,
    example_messages,
    fit_classifier,
    value_remover,
)
from turnwise.chat.service_path.example_matcher import THRESHOLD, ExampleMatcher
from turnwise.chat.service_path.finder_cache import FinderCache
from turnwise.chat.service_path.intent_classifier import IntentPredictor, TextEncoder
from turnwise.chat.service_path.passage_finders import PassageFinder
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder, LexicalEncoder
from turnwise.chat.service_path.tuned_thresholds import Thresholds, read_tuned
from turnwise.chat.service_path.turn import ClassifierState
from turnwise.chat.service_path.versions import keep_version
from turnwise.core.errors import TurnwiseError
from turnwise.scenarios.definition import ScenarioDefinition

log = logging.getLogger("turnwise.chat")


@dataclass(frozen=True, slots=True)
class ScenarioResources:
    """Resources of one version of a scenario.

    Attributes:
        classifier: predicts intents.
        thresholds: when a score suffices.
        finders: find passages, by language; None without documents.
        classifier_state: which classifier `classifier` is.
        safety_encoder: embeds messages for the classifier of safety lines; None without one, or if the embedding model
            is another one than that of its training.
    """

    classifier: IntentPredictor
    thresholds: Thresholds
    finders: Mapping[str, PassageFinder | None] = field(default_factory=dict)
    classifier_state: ClassifierState = "fitted"
    safety_encoder: TextEncoder | None = None


@dataclass(frozen=True, slots=True)
class _Version:
    """What is computed at once for one version of a scenario's files."""

    classifier_key: str
    tuned: Thresholds | None
    matcher: ExampleMatcher


class ResourceCache:
    """Resources of scenarios. One classifier at a time is fitted, and each version of the intents once."""

    def __init__(self, encoder: TextEncoder | None = None, folder: Path | None = None, *, waits: bool = False) -> None:
        """Create an empty cache.

        Args:
            encoder: encoder for the intents; None: words and character n-grams.
            folder: folder that keeps fitted classifiers for the next start; None: they are fitted at every start.
            waits: `get` waits for the fit. Default: other classifiers answer until then.
        """
        self._encoder, self._folder, self._waits = encoder or LexicalEncoder(), folder, waits
        self._finders = FinderCache(self._encoder, folder, waits=waits)
        self._versions: dict[str, _Version] = {}
        self._fitted: dict[str, FittedClassifier] = {}
        self._newest: dict[str, FittedClassifier] = {}  # by name of the scenario
        self._fits = BackgroundTasks()
        self._safety_encoders: dict[str, TextEncoder | None] = {}  # by content hash

    async def get(self, definition: ScenarioDefinition) -> ScenarioResources:
        """The resources of a scenario. Does not wait for a fit unless the cache waits; then raises its errors."""
        version = await self._version(definition)
        finders = await self._finders.get(definition)
        safety_encoder = await self._safety_encoder(definition)
        key = version.classifier_key
        if (
            key not in self._fitted
            and self._fits.task(key) is None
            and (cached := await cached_classifier(definition, self._encoder, self._folder)) is not None
        ):
            keep_version(self._fitted, key, cached)
        if key not in self._fitted and self._waits:
            await asyncio.shield(self._start_fit(key, definition))
        if (fitted := self._fitted.get(key)) is not None:
            self._newest[definition.name] = fitted
            return ScenarioResources(
                fitted.classifier, version.tuned or fitted.thresholds, finders, safety_encoder=safety_encoder
            )  # fmt: skip
        if not self._fits.has_failed_lately(key):
            self._start_fit(key, definition)
        if (earlier := self._newest.get(definition.name)) is not None:
            return ScenarioResources(earlier.classifier, earlier.thresholds, finders, "earlier", safety_encoder)
        thresholds = replace(version.tuned or Thresholds(), intent=THRESHOLD)
        return ScenarioResources(version.matcher, thresholds, finders, "examples", safety_encoder)

    async def prepare(
        self, definitions: Sequence[ScenarioDefinition], on_done: Callable[[str, int, float], None]
    ) -> None:
        """Fit the classifiers of scenarios one after another.

        Args:
            definitions: the scenarios.
            on_done: called after each with its name, the number of scenarios that are ready, and the seconds it took.
        """
        for number, definition in enumerate(definitions, 1):
            started = time.perf_counter()
            resources = await self.get(definition)
            key = (await self._version(definition)).classifier_key
            if resources.classifier_state != "fitted" and (fit := self._fits.task(key)) is not None:
                await asyncio.wait([fit])
            await self._finders.wait(definition)
            if key in self._fitted:
                on_done(definition.name, number, time.perf_counter() - started)

    def _start_fit(self, key: str, definition: ScenarioDefinition) -> asyncio.Task[None]:
        """The fit in the background; starts it unless it is under way."""
        return self._fits.start(
            key,
            lambda: self._fit(key, definition),
            f"The intents of the scenario {definition.name} could not be fitted",
        )

    async def _fit(self, key: str, definition: ScenarioDefinition) -> None:
        fitted = await fit_classifier(definition, self._encoder, self._folder)
        keep_version(self._fitted, key, fitted)
        self._newest[definition.name] = fitted

    async def _safety_encoder(self, definition: ScenarioDefinition) -> TextEncoder | None:
        """The encoder for the classifier of safety lines; None without one, and while the model fails."""
        key = definition.content_hash
        if key not in self._safety_encoders:
            try:
                keep_version(self._safety_encoders, key, await choose_safety_encoder(definition, self._encoder))
            except TurnwiseError as error:  # tried again with the next message
                log.warning("The embedding model failed; emergencies are recognised without it: %s", error)
                return None
        return self._safety_encoders[key]

    async def _version(self, definition: ScenarioDefinition) -> _Version:
        key = definition.content_hash
        if key not in self._versions:
            keep_version(self._versions, key, await _open_version(definition, self._encoder))
        return self._versions[key]


async def _open_version(definition: ScenarioDefinition, encoder: TextEncoder) -> _Version:
    tuned = await asyncio.to_thread(read_tuned, definition, encoder.id)
    texts, labels = example_messages(definition)
    clean = value_remover(definition)
    matcher = await ExampleMatcher.create([clean(text) for text in texts], labels, clean)
    if tuned is None and len(set(labels)) > 1:
        log.info("The thresholds of the scenario %s are not tuned; run: turnwise scenario tune", definition.name)
    return _Version(classifier_key(definition, encoder), tuned, matcher)


async def choose_safety_encoder(definition: ScenarioDefinition, encoder: TextEncoder) -> TextEncoder | None:
    """The encoder, if it is an embedding model whose vectors the classifier of safety lines accepts."""
    settings = definition.safety_classifier
    if settings is None or not isinstance(encoder, EmbeddingEncoder):
        return None
    accepted = settings.model.accepts_vectors(await encoder.encode(settings.model.probes))
    if not accepted:
        log.info("The classifier '%s' was trained on another embedding model; it works without one", settings.name)
    return encoder if accepted else None
