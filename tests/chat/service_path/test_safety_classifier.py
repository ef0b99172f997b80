"""Emergencies that no phrase describes, on the service path: the classifier, with and without an embedding model."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from service_scenarios import ask
from turnwise.chat.service_path import safety_line
from turnwise.chat.service_path.scenario_chat_service import ScenarioChatService
from turnwise.chat.service_path.scenario_resources import ResourceCache, choose_safety_encoder
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder, LexicalEncoder
from turnwise.core.embedding_service import EmbeddingResult
from turnwise.core.errors import Unavailable, UserError
from turnwise.scenarios.message_classifier import load_classifier
from turnwise.scenarios.scenario_library import ScenarioLibrary, builtin_folder
from turnwise.testing import ScriptedChatService

UNWRITTEN = "my uncle slid off the roof, his legs are numb and he keeps mumbling nonsense"


@pytest.fixture(scope="module")
def library():
    return ScenarioLibrary([builtin_folder()])


@pytest.fixture
def health(library, resources):
    model = ScriptedChatService(["Drink water."])
    return ScenarioChatService(model, library, default_scenario="health_information", resources=resources), model


class StubEmbeddings:
    """Answers with the classifier's own vectors for its probes, and with `vector` for other texts; None is busy."""

    name, created = "stub", 1

    def __init__(self, vector=None):
        classifier = load_classifier("emergencies")
        self.vector, self.vectors = vector, dict(zip(classifier.probes, classifier._probe_vectors_PD, strict=True))

    async def embed(self, request):
        vectors = [self.vectors.get(text, self.vector) for text in request.inputs]
        if any(vector is None for vector in vectors):
            raise UserError("busy")
        return EmbeddingResult([list(vector) for vector in vectors], 1)


class BusyEmbeddings:
    """Has no time for any text."""

    name, created = "busy", 1

    async def embed(self, request):
        raise Unavailable("The embedding model is busy.")


def test_an_emergency_in_new_words_gets_a_line_and_the_report_says_by_what(health, reply):
    service, model = health
    report = reply(service, ask(UNWRITTEN, scenario="health_information")).service
    (decision,) = report.decisions
    assert decision.outcome == "classified"
    assert report.decision == f"safety:{decision.detail}"
    assert decision.threshold <= decision.score <= 1
    assert model.requests == []


def test_a_phrase_is_reported_as_a_match_without_a_probability(health, reply):
    report = reply(health[0], ask("i cant breathe", scenario="health_information")).service
    assert (report.decisions[0].outcome, report.decisions[0].score) == ("match", None)


def test_a_harmless_message_is_reported_with_its_probability(health, reply):
    report = reply(health[0], ask("Hello", scenario="health_information")).service
    decision = report.decisions[0]
    assert decision.outcome == "none"
    assert 0 <= decision.score < decision.threshold


def test_only_the_embedding_model_of_the_training_takes_part(library):
    definition = library.get("health_information")
    fitting, other = EmbeddingEncoder(StubEmbeddings()), EmbeddingEncoder(StubEmbeddings())
    other._service.vectors = dict.fromkeys(other._service.vectors, np.ones(384) / np.sqrt(384))
    chosen = [asyncio.run(choose_safety_encoder(definition, e)) for e in (fitting, other, LexicalEncoder())]
    assert chosen == [fitting, None, None]


def test_an_embedding_model_that_fails_leaves_the_words_to_decide(library):
    definition = library.get("health_information")
    turn = SimpleNamespace(definition=definition, message=UNWRITTEN)
    turn.safety_encoder = EmbeddingEncoder(StubEmbeddings(np.ones(384) / np.sqrt(384)))
    assert asyncio.run(safety_line._window_vectors(turn)).shape == (1, 384)
    turn.safety_encoder = EmbeddingEncoder(StubEmbeddings())
    assert asyncio.run(safety_line._window_vectors(turn)) is None


def test_an_embedding_model_that_is_busy_at_the_start_leaves_other_messages_alone(library, reply):
    cache = ResourceCache(EmbeddingEncoder(BusyEmbeddings()))
    service = ScenarioChatService(ScriptedChatService(["Drink water."]), library, resources=cache)
    assert reply(service, ask("how much water should I drink a day", scenario="health_information")).text
    assert reply(service, ask(UNWRITTEN, scenario="health_information")).service.decision.startswith("safety:")
