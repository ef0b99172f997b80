"""The watch of a canary: it ends one that is significantly worse, and nothing else ever does."""

from hypothesis import given
from hypothesis import strategies as st

from turnwise.chat.versions.canary_watch import CanaryWatch, FailureCount
from turnwise.core.model_versions import VersionOutcomes


class RecordedTest:
    """Rejects when the canary has failed `limit` times more often than the serving version."""

    def __init__(self, limit=5):
        self.looks, self.limit = [], limit

    def update(self, canary, serving):
        self.looks.append((canary, serving))
        return sum(canary.failures - serving.failures for canary, serving in self.looks) >= self.limit


def watch(limit=5):
    tests = []

    def new_test():
        tests.append(RecordedTest(limit))
        return tests[-1]

    return CanaryWatch(new_test), tests


def test_errors_end_a_canary_with_a_sentence():
    watched, _ = watch()
    good = VersionOutcomes(answers=90, errors=1)
    assert watched.look(VersionOutcomes(answers=10, errors=2), good) is None
    reason = watched.look(VersionOutcomes(answers=40, errors=10), good + good)
    assert reason == "25.0 % (10 of 40) of its answers failed; of the serving version 1.1 % (2 of 180)."


def test_slow_answers_and_dislikes_end_a_canary():
    base = VersionOutcomes(answers=50, rated=50)
    slow, _ = watch()
    assert "were slow" in slow.look(VersionOutcomes(answers=50, slow=9), base)
    disliked, _ = watch()
    assert "were disliked" in disliked.look(VersionOutcomes(answers=50, rated=20, disliked=9), base)


def test_a_better_canary_goes_on():
    watched, _ = watch()
    assert watched.look(VersionOutcomes(answers=50), VersionOutcomes(answers=50, errors=50)) is None


def test_few_or_missing_outcomes_never_end_a_canary():
    watched, tests = watch(limit=0)  # would end it at any look
    for canary, serving in [
        (VersionOutcomes(), VersionOutcomes()),
        (VersionOutcomes(answers=100, errors=100), VersionOutcomes()),
        (VersionOutcomes(), VersionOutcomes(answers=100)),
        (VersionOutcomes(answers=4, errors=4), VersionOutcomes(answers=5)),
    ]:
        assert watched.look(canary, serving) is None
    assert not any(test.looks for test in tests)


def test_each_answer_is_tested_once():
    watched, (errors, *_) = watch(limit=100)
    watched.look(VersionOutcomes(answers=10, errors=1), VersionOutcomes(answers=30, errors=2))
    watched.look(VersionOutcomes(answers=11, errors=2), VersionOutcomes(answers=30, errors=2))  # too few for a look
    watched.look(VersionOutcomes(answers=15, errors=3), VersionOutcomes(answers=50, errors=2))
    assert errors.looks == [
        (FailureCount(1, 10), FailureCount(2, 30)),
        (FailureCount(2, 5), FailureCount(0, 20)),
    ]


def test_many_answers_are_split_among_looks_with_their_rate():
    watched, (errors, *_) = watch(limit=1_000_000)  # a restarted server reads the counts of weeks
    canary, serving = VersionOutcomes(answers=25_000, errors=250), VersionOutcomes(answers=2_500, errors=25)
    for _ in range(3):
        watched.look(canary, serving)
        serving += VersionOutcomes(answers=10)
    assert [look for look, _ in errors.looks] == [FailureCount(100, 10_000), FailureCount(100, 10_000),
                                                  FailureCount(50, 5_000)]  # fmt: skip


def test_counts_that_begin_anew_are_compared_from_their_beginning():
    watched, (errors, *_) = watch()
    assert watched.look(VersionOutcomes(answers=400, errors=2), VersionOutcomes(answers=900, errors=4)) is None
    reason = watched.look(VersionOutcomes(answers=20, errors=20), VersionOutcomes(answers=180))
    assert reason == "100.0 % (20 of 20) of its answers failed; of the serving version 0.0 % (0 of 180)."
    assert errors.looks[-1] == (FailureCount(20, 20), FailureCount(0, 180))


counts = st.builds(
    VersionOutcomes,
    **{name: st.integers(-3, 40) for name in ("answers", "errors", "slow", "rated", "disliked")},
)


@given(st.lists(st.tuples(counts, counts), max_size=8))
def test_a_test_only_gets_possible_counts_whatever_is_recorded(increments):
    watched, tests = watch(limit=10**9)
    canary = serving = VersionOutcomes()
    for more_canary, more_serving in increments:
        canary, serving = canary + more_canary, serving + more_serving
        watched.look(canary, serving)
    for test in tests:
        for look in test.looks:
            assert all(0 <= count.failures <= count.trials for count in look)
