"""How often an equal canary is ended, with what a server counts and the test that it uses."""

import random

import pytest

from turnwise.app.version_serving.canary_test import OddsRatioRateTest
from turnwise.chat.versions.canary_watch import CanaryWatch
from turnwise.chat.versions.outcome_counter import AnswerOutcome, OutcomeCounter
from turnwise.core.model_versions import ModelVersion, NewVersion, VersionOutcomes, VersionRouting

SERVING, CANARY = 1, 2
RUNS, CONVERSATIONS, ANSWERS = 60, 400, 8


def version(number):
    return ModelVersion(number, 0.0, "serving", NewVersion("shop", "folder", "digest"))


def is_ended(seed, rates):
    """True if a canary with half of the conversations is ended; the answers of a conversation fail together."""
    rng, counter, watch = random.Random(seed), OutcomeCounter(), CanaryWatch(OddsRatioRateTest)
    counter.start(VersionRouting(1, version(SERVING), version(CANARY)))
    totals = {SERVING: VersionOutcomes(), CANARY: VersionOutcomes()}
    for conversation in range(CONVERSATIONS):
        number = rng.choice((SERVING, CANARY))
        has_failed = rng.random() < rates[number]
        for _ in range(ANSWERS):
            counter.record(number, AnswerOutcome(has_failed), str(conversation))
        for counted, outcomes in counter.take().items():
            totals[counted] += outcomes
        if watch.look(totals[CANARY], totals[SERVING]) is not None:
            return True
    return False


@pytest.mark.costly
def test_an_equal_canary_is_hardly_ever_ended_if_the_answers_of_a_conversation_fail_together():
    """Were all answers counted, about half of the runs would end it."""
    assert sum(is_ended(seed, {SERVING: 0.3, CANARY: 0.3}) for seed in range(RUNS)) <= 3


@pytest.mark.costly
def test_a_worse_canary_is_ended():
    assert sum(is_ended(seed, {SERVING: 0.1, CANARY: 0.4}) for seed in range(RUNS)) >= 55
