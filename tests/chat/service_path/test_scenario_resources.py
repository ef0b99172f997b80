"""Intents are fitted in the background and kept for the next start; others answer until then, as the report says."""

import asyncio
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service_scenarios import ask, open_shop, write_scenario
from turnwise.chat.service_path import background_tasks
from turnwise.chat.service_path.classifier_files import read_classifier, write_classifier
from turnwise.chat.service_path.classifier_fitting import classifier_key
from turnwise.chat.service_path.intent_classifier import IntentHead
from turnwise.chat.service_path.intent_training import HeldOutScores
from turnwise.chat.service_path.logistic_head import LogisticHead
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.chat.service_path.text_encoders import LexicalEncoder
from turnwise.core.errors import TurnwiseError
from turnwise.scenarios.loader import load_scenario

INTENTS = """
opening_hours: {examples: {en: [when are you open, what are your opening hours, is the shop open on sunday]}}
order_status: {examples: {en: [where is my parcel, track my order, has my order been sent]}}
"""
MORE_INTENTS = (
    INTENTS + "jobs: {answer: generate, examples: {en: [do you have jobs, I want to work for you, any job?]}}\n"
)


@pytest.fixture
def load(tmp_path):
    """`load(**changes)`: the shop with changed files."""
    return lambda **changes: load_scenario(write_scenario(tmp_path / "shop", **{"intents": INTENTS, **changes}))


def resources_of(cache, *definitions):
    """What `get` returns for each definition at once, and for the last one after all fits."""

    async def get():
        first = [await cache.get(definition) for definition in definitions]
        await cache.prepare(definitions, lambda *_: None)
        return [*first, await cache.get(definitions[-1])]

    return asyncio.run(get())


def best(resources, message):
    return asyncio.run(resources.classifier.predict(message)).best


class FailingEncoder(LexicalEncoder):
    """An encoder whose model fails."""

    num_fits = 0

    async def fit(self, texts):
        self.num_fits += 1
        raise TurnwiseError("The model has failed.")


def test_until_the_intents_are_fitted_examples_answer(load):
    at_once, later = resources_of(ResourceCache(), load())
    assert (at_once.classifier_state, later.classifier_state) == ("examples", "fitted")
    for resources in (at_once, later):
        assert best(resources, "where is my parcel?").intent == "order_status"
    assert best(at_once, "where is my parcel?").probability >= at_once.thresholds.intent
    assert best(at_once, "is it raining in the mountains?").probability < at_once.thresholds.intent


def test_while_edited_intents_are_fitted_the_classifier_before_answers(load):
    before, after = load(), load(intents=MORE_INTENTS)
    cache = ResourceCache()
    asyncio.run(cache.prepare([before], lambda *_: None))
    at_once, later = resources_of(cache, after)
    assert (at_once.classifier_state, later.classifier_state) == ("earlier", "fitted")
    assert best(at_once, "where is my parcel?").intent == "order_status"
    assert best(at_once, "do you have jobs").intent != "jobs"
    assert best(later, "do you have jobs").intent == "jobs"


def test_an_edit_of_texts_is_live_at_once(load):
    cache = ResourceCache()
    asyncio.run(cache.prepare([load()], lambda *_: None))
    edited = load(**{"knowledge/en/warranty": "Lamps have a warranty of 99 months."})
    resources, _ = resources_of(cache, edited)
    assert resources.classifier_state == "fitted"
    (found,) = asyncio.run(resources.finders["en"].find(["warranty"], 1))
    assert "99 months" in found.passage.text


def test_a_fitted_classifier_is_there_at_the_next_start(load, tmp_path):
    definition = load()
    _, fitted = resources_of(ResourceCache(folder=tmp_path / "cache"), definition)
    at_once, _ = resources_of(ResourceCache(folder=tmp_path / "cache"), definition)
    assert at_once.classifier_state == "fitted"
    assert at_once.thresholds == fitted.thresholds
    for message in ("where is my parcel?", "are you open", "hm"):
        assert best(at_once, message).probability == pytest.approx(best(fitted, message).probability)


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"", lambda content: b"{}" + content])
def test_a_damaged_file_is_fitted_again(load, tmp_path, caplog, damage):
    definition = load()
    resources_of(ResourceCache(folder=tmp_path / "cache"), definition)
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.write_bytes(damage(content))
    with caplog.at_level(logging.WARNING, "turnwise.chat"):
        at_once, later = resources_of(ResourceCache(folder=tmp_path / "cache"), definition)
    assert (at_once.classifier_state, later.classifier_state) == ("examples", "fitted")
    assert "are damaged and are fitted again" in caplog.text
    assert read_classifier(file) is not None


def test_examples_go_on_to_answer_if_the_encoder_fails_and_it_is_tried_again_later(load, caplog, monkeypatch):
    encoder, definition = FailingEncoder(), load()
    cache = ResourceCache(encoder)
    for expected_fits in (1, 1):
        assert resources_of(cache, definition)[-1].classifier_state == "examples"
        assert encoder.num_fits == expected_fits
    assert "could not be fitted: The model has failed." in caplog.text
    monkeypatch.setattr(background_tasks, "RETRY_SECONDS", 0.0)
    resources_of(cache, definition)
    assert encoder.num_fits > 1
    with pytest.raises(TurnwiseError, match="has failed"):
        asyncio.run(ResourceCache(encoder, waits=True).get(definition))


def test_the_key_changes_with_what_the_classifier_depends_on(load):
    key = classifier_key(load(), LexicalEncoder())
    other_encoder = LexicalEncoder()
    other_encoder.id = "lexical:2"
    assert classifier_key(load(), other_encoder) != key
    assert classifier_key(load(intents=MORE_INTENTS), LexicalEncoder()) != key
    assert classifier_key(load(slots="order_number: {pattern: 'LX[0-9]+', ask: {en: Which?}}"), LexicalEncoder()) != key
    assert classifier_key(load(templates="opening_hours: {en: [Always.]}"), LexicalEncoder()) == key


def test_requests_are_answered_while_the_intents_are_fitted_and_the_report_says_so(tmp_path):
    service, _ = open_shop(tmp_path, resources=ResourceCache(), changes={"intents": INTENTS})

    async def reply():
        return await service.reply(ask("what are your opening hours"))

    async def reply_twice():
        first = await reply()
        while asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        return first, await reply()

    first, second = asyncio.run(reply_twice())
    assert first.text == second.text == "We are open 9:00 to 18:00, Monday to Saturday."
    classifiers = [
        decision.get("classifier")
        for response in (first, second)
        for decision in response.service.as_dict()["decisions"]
        if decision["step"] == "intent"
    ]
    assert classifiers == ["examples", None]


numbers = st.floats(-1e3, 1e3)


@given(st.data(), st.integers(2, 4), st.integers(2, 5), st.integers(1, 3))
def test_a_classifier_is_read_as_it_was_written(tmp_path_factory, data, num_intents, num_examples, dimension):
    draw = lambda *shape: data.draw(arrays(np.float64, shape, elements=numbers))  # noqa: E731
    classes = data.draw(arrays(np.int64, num_examples, elements=st.integers(0, num_intents - 1)))
    intents = tuple(f"intent_{number}" for number in range(num_intents))
    weights = LogisticHead(draw(dimension + 1, num_intents))
    head = IntentHead(intents, weights, 0.5, draw(4), draw(num_examples, dimension), classes)
    scores = HeldOutScores(draw(6), draw(6) > 0, draw(6), 3)
    path = tmp_path_factory.mktemp("cache") / "a.safetensors"
    write_classifier(path, head, scores, draw(dimension))
    read_head, read_scores, _ = read_classifier(path)
    assert (read_head.intents, read_head.temperature, read_scores.num_examples) == (intents, 0.5, 3)
    for written, read in (
        (weights.weights_DC, read_head.head.weights_DC), (head.certainty_4, read_head.certainty_4),
        (head.examples_ND, read_head.examples_ND), (classes, read_head.classes_N),
        (scores.certainty_N, read_scores.certainty_N), (scores.correct_N, read_scores.correct_N),
    ):  # fmt: skip
        assert np.array_equal(written, read)
        assert written.dtype == read.dtype
