"""Outcomes of answers: counted while several versions are compared, by one limit for slow answers."""

from turnwise.chat.versions.outcome_counter import MIN_TIMES, AnswerOutcome, OutcomeCounter
from turnwise.core.model_versions import ModelVersion, NewVersion, VersionOutcomes, VersionRouting


def version(number):
    return ModelVersion(number, 0.0, "serving", NewVersion("shop", "folder", f"digest{number}"))


ALONE = VersionRouting(1, version(1))
WITH_CANARY = VersionRouting(2, version(1), version(2))


def counter(routing=WITH_CANARY):
    counts = OutcomeCounter()
    counts.start(routing)
    return counts


def test_answers_errors_and_ratings_are_counted_by_version():
    counts = counter()
    counts.record(1, AnswerOutcome(False, 0.1))
    counts.record(2, AnswerOutcome(True))
    counts.record_rating(2, -1, None)
    counts.record_rating(1, 1, None)
    assert counts.take() == {
        1: VersionOutcomes(answers=1, rated=1), 2: VersionOutcomes(answers=1, errors=1, rated=1, disliked=1)
    }  # fmt: skip
    assert counts.take() == {}


def test_nothing_is_counted_while_one_version_answers():
    counts = counter(ALONE)
    counts.record(1, AnswerOutcome(True, 0.1))
    counts.record_rating(1, -1, None)
    assert counts.take() == {}


def test_a_changed_rating_counts_once():
    counts = counter()
    counts.record_rating(2, 1, None)
    counts.record_rating(2, -1, 1)
    assert counts.take() == {2: VersionOutcomes(rated=1, disliked=1)}
    counts.record_rating(2, 1, -1)
    assert counts.take() == {2: VersionOutcomes(disliked=-1)}


def test_the_limit_is_a_quantile_of_the_serving_version_before_the_canary():
    counts = counter(ALONE)
    for number in range(100):
        counts.record(1, AnswerOutcome(False, 0.01 * (number + 1)))
    counts.start(WITH_CANARY)
    assert counts.slow_limit == 0.96
    counts.record(2, AnswerOutcome(False, 0.97))
    counts.record(2, AnswerOutcome(False, 0.95))
    counts.record(1, AnswerOutcome(False, 2.0))
    assert counts.take() == {2: VersionOutcomes(answers=2, slow=1), 1: VersionOutcomes(answers=1, slow=1)}


def test_without_enough_measurements_nothing_is_slow():
    counts = counter()
    for _ in range(MIN_TIMES - 1):
        counts.record(1, AnswerOutcome(False, 0.1))
    counts.record(2, AnswerOutcome(False, 60.0))
    assert counts.slow_limit is None
    assert counts.take()[2].slow == 0
    counts.record(1, AnswerOutcome(False, 0.1))
    assert counts.slow_limit == 0.1


def test_another_serving_version_gets_a_limit_of_its_own():
    counts = counter()
    for _ in range(MIN_TIMES):
        counts.record(1, AnswerOutcome(False, 0.1))
    counts.start(VersionRouting(3, version(2), version(3)))
    assert counts.slow_limit is None


def test_counts_that_were_not_saved_are_put_back():
    counts = counter()
    counts.record(1, AnswerOutcome(False))
    taken = counts.take()
    counts.record(1, AnswerOutcome(True))
    counts.put_back(taken)
    assert counts.take() == {1: VersionOutcomes(answers=2, errors=1)}
