"""Outcomes of answers: counted while several versions are compared, by one limit for slow answers."""

from turnwise.chat.versions.outcome_counter import MIN_TIMES, AnswerOutcome, OutcomeCounter
from turnwise.core.feedback import AnswerOrigin, AnswerReference
from turnwise.core.model_versions import ModelVersion, NewVersion, VersionOutcomes, VersionRouting


def version(number):
    return ModelVersion(number, 0.0, "serving", NewVersion("shop", "folder", f"digest{number}"))


ALONE = VersionRouting(1, version(1))
WITH_CANARY = VersionRouting(2, version(1), version(2))


def answer(number=1, conversation="a"):
    return AnswerOrigin(AnswerReference("message", f"msg_{number}"), "shop@1", conversation)


def counter(routing=WITH_CANARY):
    counts = OutcomeCounter()
    counts.start(routing)
    return counts


def test_answers_errors_and_ratings_are_counted_by_version():
    counts = counter()
    counts.record(1, AnswerOutcome(False, 0.1))
    counts.record(2, AnswerOutcome(True))
    counts.record_rating(2, answer(1, "a"), -1, None)
    counts.record_rating(1, answer(2, "b"), 1, None)
    assert counts.take() == {
        1: VersionOutcomes(answers=1, rated=1), 2: VersionOutcomes(answers=1, errors=1, rated=1, disliked=1)
    }  # fmt: skip
    assert counts.take() == {}


def test_nothing_is_counted_while_one_version_answers():
    counts = counter(ALONE)
    counts.record(1, AnswerOutcome(True, 0.1))
    counts.record_rating(1, answer(), -1, None)
    assert counts.take() == {}


def test_a_changed_rating_counts_once():
    counts = counter()
    counts.record_rating(2, answer(), 1, None)
    counts.record_rating(2, answer(), -1, 1)
    assert counts.take() == {2: VersionOutcomes(rated=1, disliked=1)}
    counts.record_rating(2, answer(), 1, -1)
    assert counts.take() == {2: VersionOutcomes(disliked=-1)}


def test_the_first_answer_of_a_conversation_counts():
    """Answers of one conversation often fail together; the test of a canary needs independent ones."""
    counts = counter()
    for conversation, is_error in [("a", True), ("a", True), ("a", False), ("b", False), ("b", True), (None, True)]:
        counts.record(2, AnswerOutcome(is_error), conversation)
    assert counts.take() == {2: VersionOutcomes(answers=3, errors=2)}
    counts.record(2, AnswerOutcome(True), "b")
    assert counts.take() == {}
    counts.start(WITH_CANARY)
    counts.record(2, AnswerOutcome(True), "b")
    assert counts.take() == {2: VersionOutcomes(answers=1, errors=1)}, "another comparison counts anew"


def test_of_a_conversation_the_first_answer_that_is_rated_counts():
    counts = counter()
    for number, conversation in [(1, "a"), (2, "a"), (3, "a"), (4, "b")]:
        counts.record_rating(2, answer(number, conversation), -1, None)
    assert counts.take() == {2: VersionOutcomes(rated=2, disliked=2)}


def test_a_rating_from_before_the_comparison_is_not_counted_when_it_is_changed():
    counts = counter()
    counts.record_rating(2, answer(), -1, 1)
    assert counts.take() == {}


def test_only_so_many_conversations_are_remembered(monkeypatch):
    monkeypatch.setattr("turnwise.chat.versions.outcome_counter.MAX_CONVERSATIONS", 3)
    counts = counter()
    for number in range(9):
        counts.record(2, AnswerOutcome(False), f"{number}")
        counts.record_rating(2, answer(number, f"{number}"), 1, None)
    assert counts.take() == {2: VersionOutcomes(answers=3, rated=3)}


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
