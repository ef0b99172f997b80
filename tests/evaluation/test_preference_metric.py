"""The preference margin rises with good answers' likelihood and falls with bad answers'."""

import math

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import Loglikelihood, SampleResult

(METRIC,) = load_metrics(["preference"])
QUESTION, GOOD, BAD = Message("user", "When?"), Message("assistant", "At seven."), Message("assistant", "No.")
PAIR = Conversation((QUESTION, GOOD), rejected=(QUESTION, BAD))
LIKED, DISLIKED = Conversation((QUESTION, GOOD), rating=True), Conversation((QUESTION, BAD), rating=False)


def bits(value, num_bytes=8):
    """The likelihood of an answer with so many bits per byte."""
    return Loglikelihood(value * num_bytes * math.log(2), 3, num_bytes)


def margin(dialogues, *likelihoods):
    samples = METRIC.samples(dialogues, 0)
    results = [SampleResult(loglikelihoods=each) for each in likelihoods]
    return float(METRIC.value(METRIC.statistics(samples, results).sum(axis=0)))


def test_a_pair_counts_the_difference_of_both_answers():
    assert METRIC.samples([PAIR], 0)[0].loglikelihood_queries[1].messages == (QUESTION, BAD)
    assert math.isclose(margin([PAIR], (bits(1.0), bits(1.5, 3))), 0.5)


def test_a_rated_answer_counts_with_the_sign_of_its_rating():
    assert math.isclose(margin([LIKED, DISLIKED], (bits(1.0),), (bits(3.0),)), (-1.0 + 3.0) / 2)


def test_dialogues_without_feedback_have_no_margin():
    assert METRIC.samples([Conversation((QUESTION, GOOD))], 0) == []


def test_messages_with_the_loss_weight_0_are_no_references():
    (likelihood,) = load_metrics(["bits_per_byte"])
    dialogue = Conversation((QUESTION, Message("assistant", "Soon.", weight=0.0), QUESTION, GOOD))
    (sample,) = likelihood.samples([dialogue], 0)
    assert [query.messages[-1] for query in sample.loglikelihood_queries] == [GOOD]
