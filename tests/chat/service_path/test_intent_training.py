"""The intent classifier: calibrated probabilities, messages of no intent, and thresholds for a share of errors."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_scenarios import write_scenario
from turnwise.chat.service_path.intent_training import fit_intent_head
from turnwise.chat.service_path.logistic_head import expected_calibration_error, fit_logistic_head, fit_temperature
from turnwise.chat.service_path.text_encoders import LexicalEncoder
from turnwise.chat.service_path.threshold_tuning import choose_threshold
from turnwise.chat.service_path.tuned_thresholds import Thresholds, read_tuned, tuned_hash, write_tuned
from turnwise.core.errors import UserError
from turnwise.core.steps import run_steps
from turnwise.scenarios.loader import load_scenario


def clusters(num_classes, per_class, spread, seed=0, dimension=16):
    """Unit vectors around one centre per class, and their classes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_classes, dimension))
    classes = np.repeat(np.arange(num_classes), per_class)
    vectors = centres[classes] + spread * rng.normal(size=(len(classes), dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes, centres


def test_more_dimensions_than_texts_give_the_same_head():
    vectors, classes, _ = clusters(3, 4, 0.5, dimension=8)
    wide = np.hstack([vectors, np.zeros((12, 40))])  # fitted in the basis of the texts
    narrow_head, wide_head = (fit_logistic_head(matrix, classes, 3) for matrix in (vectors, wide))
    assert wide_head.logits(wide) == pytest.approx(narrow_head.logits(vectors), abs=0.05)


def test_a_temperature_undoes_a_scale():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 4)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = np.array([rng.choice(4, p=row) for row in probabilities])
    assert fit_temperature(3 * logits, classes) == pytest.approx(3, rel=0.15)


def test_the_probability_is_calibrated_and_low_for_messages_of_no_intent():
    vectors, classes, centres = clusters(10, 30, 0.45)
    intents = [f"intent{number}" for number in range(10)]
    head, scores = run_steps(fit_intent_head(vectors, [intents[index] for index in classes], intents))
    assert scores.calibration_error < 0.06
    rng = np.random.default_rng(5)
    fresh = centres[classes] + 0.45 * rng.normal(size=vectors.shape)
    fresh /= np.linalg.norm(fresh, axis=1, keepdims=True)
    right = [p.best.intent == intents[index] for p, index in zip(head.predict(fresh), classes, strict=True)]
    certainty = np.mean([p.best.probability for p in head.predict(fresh)])
    strangers = rng.normal(size=(200, vectors.shape[1]))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    stranger_certainty = np.mean([p.best.probability for p in head.predict(strangers)])
    assert np.mean(right) > 0.85
    assert stranger_certainty < certainty - 0.3


def test_probabilities_are_ordered_and_sum_up_to_at_most_one():
    vectors, classes, _ = clusters(4, 6, 0.8)
    head, _ = run_steps(fit_intent_head(vectors, [str(index) for index in classes], [str(index) for index in range(4)]))
    rng = np.random.default_rng(1)
    for prediction in head.predict(rng.normal(size=(100, vectors.shape[1]))):
        values = [score.probability for score in prediction.scores]
        assert values == sorted(values, reverse=True) or values[1:] == sorted(values[1:], reverse=True)
        assert 0 <= sum(values) <= 1 + 1e-9


def test_the_calibration_error_is_the_gap_of_probability_and_accuracy():
    assert expected_calibration_error(np.array([0.75] * 4), np.array([True, True, True, False])) == 0
    assert expected_calibration_error(np.array([0.95, 0.95]), np.array([False, False])) == pytest.approx(0.95)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40), st.floats(0, 1))
def test_the_threshold_keeps_the_share_of_errors_and_answers_as_much_as_possible(messages, max_wrong):
    probabilities = np.array([value / 20 for value, _ in messages])
    correct = np.array([is_correct for _, is_correct in messages])
    tuned = choose_threshold(probabilities, correct, np.ones(len(messages)), max_wrong)
    answered = probabilities >= tuned.threshold
    assert (answered & ~correct).mean() <= max_wrong + 1e-9 or not tuned.answered
    lower = probabilities[probabilities < tuned.threshold]
    if tuned.answered and len(lower):
        assert ((probabilities >= lower.max()) & ~correct).mean() > max_wrong


def test_lexical_vectors_tolerate_misspellings_in_both_languages():
    texts = ["where is my parcel", "wher is my parcle", "how much is it", "我的包裹在哪里", "包裹在哪", "多少钱"]
    vectors = asyncio.run(LexicalEncoder().encode(texts))
    similarity = vectors @ vectors.T
    assert np.allclose(np.diag(similarity), 1)
    assert similarity[0, 1] > similarity[0, 2] + 0.2
    assert similarity[3, 4] > similarity[3, 5] + 0.2


def test_tuned_thresholds_are_read_until_the_intents_or_the_encoder_change(tmp_path):
    definition = load_scenario(write_scenario(tmp_path / "shop"))
    assert read_tuned(definition, "lexical:1") is None
    thresholds = Thresholds(intent=0.77)
    write_tuned(definition, "lexical:1", thresholds, max_wrong=0.03, calibration_error=0.1, num_messages=5)
    assert read_tuned(load_scenario(tmp_path / "shop"), "lexical:1") == thresholds
    assert read_tuned(definition, "minilm:5") is None
    intents = {**definition.intents, "warranty": replace_examples(definition.intents["warranty"])}
    assert read_tuned(replace(definition, intents=intents), "lexical:1") is None
    assert tuned_hash(definition, "a") != tuned_hash(definition, "b")


def replace_examples(intent):
    return intent.model_copy(update={"examples": {"en": ("something else",)}})


def test_a_damaged_file_of_thresholds_is_an_error(tmp_path):
    definition = load_scenario(write_scenario(tmp_path / "shop"))
    path = write_tuned(definition, "x", Thresholds(), max_wrong=0.03, calibration_error=0.1, num_messages=5)
    path.write_text(json.dumps({**json.loads(path.read_text()), "intent": 7}))
    with pytest.raises(UserError, match="'intent' should be a probability"):
        read_tuned(definition, "x")
