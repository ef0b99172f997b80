"""The metric realism: a discriminator compares generated replies with those of people."""

import math

import numpy as np
import pytest
from evaluate_command import rows_by_name, run, scorecard_of
from hypothesis import given
from hypothesis import strategies as st

from discriminator_samples import make_copy
from turnwise.app.discriminators import open_discriminator
from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.core.reply_scoring import ScoredReply
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.metrics.realism import RealismMetric
from turnwise.evaluation.samples import GenerationOutput, SampleResult

pytestmark = pytest.mark.usefixtures("on_the_cpu", "one_thread")


class TextScorer:
    """Scores a reply by the number in its text."""

    def __init__(self):
        self.replies = []

    def score(self, replies):
        self.replies += replies
        return [float(reply.reply) for reply in replies]


def dialogues_with(replies):
    return [
        Conversation((Message("user", f"Question {number}?"), Message("assistant", reply)))
        for number, reply in enumerate(replies)
    ]


def results_of(texts):
    return [SampleResult((GenerationOutput(text),)) for text in texts]


def realism(generated, human, metric=None):
    metric = metric or RealismMetric(TextScorer)
    samples = metric.samples(dialogues_with(map(str, human)), 0)
    return float(metric.value(metric.statistics(samples, results_of(map(str, generated))).sum(axis=0)))


def test_the_value_is_the_mean_probability_that_the_generated_reply_is_the_human_one():
    assert realism([1, 0], [0, 2]) == pytest.approx((1 / (1 + math.exp(-1)) + 1 / (1 + math.exp(2))) / 2)
    assert realism([1e4, -1e4], [0, 0]) == 0.5


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=6))
def test_swapping_model_and_people_mirrors_the_value(pairs):
    first, second = zip(*pairs, strict=True)
    assert realism(first, second) == pytest.approx(1 - realism(second, first))
    assert realism(first, first) == 0.5


def test_human_replies_are_scored_once_for_all_seeds_and_systems():
    scorer = TextScorer()
    metric = RealismMetric(lambda: scorer)
    samples = metric.samples(dialogues_with(["1", "2"]), 0)
    for texts in (["3", "4"], ["5", "6"]):
        metric.statistics(samples, results_of(texts))
    assert sorted(reply.reply for reply in scorer.replies) == list("123456")


def test_without_a_discriminator_there_are_no_samples():
    (metric,) = load_metrics(["realism"])
    assert metric.samples(dialogues_with(["a"]), 0) == []
    assert "fresh" in metric.DESCRIPTION


@pytest.fixture(scope="module")
def discriminator(tmp_path_factory, tiny_config, tokenizer, one_thread):
    """The folder of a copy of the tiny model."""
    from turnwise.models.checkpoint import create

    folder = tmp_path_factory.mktemp("runs") / "discriminator"
    make_copy(create(tiny_config, seed=0), tokenizer).save(folder)
    return folder


def test_a_model_that_repeats_the_human_replies_has_half(discriminator, intent_dialogues):
    metric = RealismMetric(lambda: open_discriminator(discriminator))
    samples = last_reply_samples(intent_dialogues[:6])
    human = results_of([sample.reference for sample in samples])
    np.testing.assert_allclose(metric.statistics(samples, human), [[0.5, 1.0]] * 6, atol=1e-5)
    other = metric.statistics(samples, results_of(["The lamp is broken."] * 6))
    scorer = open_discriminator(discriminator)
    for sample, (odds, _) in zip(samples, other, strict=True):
        history = sample.generation_queries[0].history
        pair = [ScoredReply(history, text) for text in ("The lamp is broken.", sample.reference)]
        generated, expected = scorer.score(pair)
        assert odds == pytest.approx(1 / (1 + math.exp(expected - generated)), abs=1e-5)


@pytest.mark.costly
def test_the_command_compares_a_model_and_a_baseline(model_folder, data, discriminator):
    scorecard = scorecard_of(
        model_folder, "--data", data, "--limit", 8, "--metrics", "realism,chrf", "--max-tokens", 6, "--repeats", 2,
        "--discriminator", discriminator, "--against", f"retrieval:{data}",
    )  # fmt: skip
    rows = rows_by_name(scorecard)
    assert list(rows) == ["chrf", "realism"]
    assert 0 < rows["realism"]["value"] < 1
    assert rows["realism"]["num_dialogues"] == 8


@pytest.mark.costly
def test_a_discriminator_adds_the_metric(model_folder, data, discriminator):
    arguments = (model_folder, "--data", data, "--limit", 6, "--metrics", "chrf", "--max-tokens", 4, "--repeats", 1)
    assert list(rows_by_name(scorecard_of(*arguments, "--discriminator", discriminator))) == ["chrf", "realism"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--metrics", "realism"], UserError, "realism needs --discriminator FOLDER"),
        (["--discriminator", "{model}"], UserError, "holds no discriminator"),
        (["--discriminator", "{model}/missing"], ModelNotFound, "no model folder"),
    ],
)
def test_a_missing_discriminator_is_reported_before_the_model_is_loaded(
    model_folder, data, arguments, error, message, monkeypatch
):
    monkeypatch.setattr("turnwise.app.evaluation_run.run_evaluation", None)  # a call would fail
    with pytest.raises(error, match=message):
        run(model_folder, "--data", data, *[argument.format(model=model_folder) for argument in arguments])
