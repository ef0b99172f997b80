"""Runs the test conversations of a scenario and computes pass^1 and pass^k per decision.

pass^k is the probability that k independent answers to a conversation all pass, averaged over conversations (Yao et al.
2024, tau-bench). With n answers, c of which pass, it is estimated by C(c, k) / C(n, k), without bias.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from turnwise.app.scenario_answers import AnswerConversations, OnAnswersDone, ScenarioAnswer
from turnwise.evaluation.golden_case import GoldenCase, case_errors
from turnwise.evaluation.metric import FloatArray
from turnwise.evaluation.statistics import MIN_DIALOGUES, ConfidenceInterval, bootstrap_interval, wilson_interval
from turnwise.scenarios.dialogues import TestConversation

ALL = "all"  # label of the row with all decisions


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """The answers to one conversation, and what is wrong with each; an empty tuple for one that passes."""

    __test__ = False  # not a class of pytest's

    test: TestConversation
    answers: tuple[ScenarioAnswer, ...]
    errors: tuple[tuple[str, ...], ...]

    @property
    def num_passed(self) -> int:
        """Number of answers that pass."""
        return sum(not errors for errors in self.errors)

    def pass_power(self, k: int) -> float:
        """Estimate of the probability that k answers all pass."""
        return comb(self.num_passed, k) / comb(len(self.answers), k)


@dataclass(frozen=True, slots=True)
class PassRate:
    """pass^k of some conversations.

    Attributes:
        label: kind of the expected decision, or language, or `ALL`.
        num_tests: number of conversations.
        k: number of answers that have to pass.
        value: the estimate.
        interval: its confidence interval; None for fewer than `MIN_DIALOGUES` conversations.
    """

    label: str
    num_tests: int
    k: int
    value: float
    interval: ConfidenceInterval | None

    def as_dict(self) -> dict[str, Any]:
        """The rate as JSON."""
        interval = None if self.interval is None else [self.interval.low, self.interval.high]
        return {"label": self.label, "tests": self.num_tests, "k": self.k, "pass": self.value, "ci95": interval}


def run_scenario_tests(
    tests: Sequence[TestConversation], answer: AnswerConversations, trials: int, on_done: OnAnswersDone, seed: int = 0
) -> list[TestOutcome]:
    """Answer every conversation `trials` times, with different seeds, and judge the answers."""
    queries = [(test, seed + trial) for test in tests for trial in range(trials)]
    answers = answer(queries, on_done)
    outcomes = []
    for index, test in enumerate(tests):
        own_answers = tuple(answers[index * trials : (index + 1) * trials])
        outcomes.append(TestOutcome(test, own_answers, tuple(answer_errors(test, reply) for reply in own_answers)))
    return outcomes


def answer_errors(test: TestConversation, answer: ScenarioAnswer) -> tuple[str, ...]:
    """What is wrong with an answer: its decision, and missing or forbidden content."""
    case = GoldenCase(test.id, "scenario", test.history, test.must_include, test.must_not_include)
    errors = case_errors(case, answer.text)
    if not test.accepts(answer.decision):
        errors.insert(0, f"the decision is {answer.decision}, not {' or '.join(test.decisions)}")
    return tuple(errors)


def decision_kind(decision: str) -> str:
    """A decision without the name of an intent, line or topic."""
    return decision.partition(":")[0]


def pass_rates(outcomes: Sequence[TestOutcome], trials: int) -> list[PassRate]:
    """pass^1 and, with several answers, pass^k of all conversations and of each kind of expected decision."""
    return _group_rates(outcomes, trials, lambda test: decision_kind(test.decisions[0]))


def language_rates(outcomes: Sequence[TestOutcome], trials: int) -> list[PassRate]:
    """The same of all conversations and of each language."""
    return _group_rates(outcomes, trials, lambda test: test.language)


def count_decisions(outcomes: Sequence[TestOutcome]) -> Counter[tuple[str, str]]:
    """Number of answers by the kind of the expected decision, and the kind of the one that was taken.

    A decision counts as the expected one if the test accepts it.
    """
    return Counter(
        (
            decision_kind(outcome.test.decisions[0]),
            decision_kind(outcome.test.decisions[0] if outcome.test.accepts(answer.decision) else answer.decision),
        )
        for outcome in outcomes
        for answer in outcome.answers
    )


def _group_rates(
    outcomes: Sequence[TestOutcome], trials: int, label: Callable[[TestConversation], str]
) -> list[PassRate]:
    groups: dict[str, list[TestOutcome]] = {ALL: list(outcomes)}
    for outcome in outcomes:
        groups.setdefault(label(outcome.test), []).append(outcome)
    powers = [1] if trials == 1 else [1, trials]
    return [_pass_rate(name, group, k) for name, group in groups.items() if group for k in powers]


def _pass_rate(label: str, outcomes: Sequence[TestOutcome], k: int) -> PassRate:
    values_G = np.array([outcome.pass_power(k) for outcome in outcomes])
    return PassRate(label, len(outcomes), k, float(values_G.mean()), _interval(values_G))


def _interval(values_G: FloatArray) -> ConfidenceInterval | None:
    """Wilson interval of passed and failed conversations; bootstrap interval of shares of passed answers."""
    if len(values_G) < MIN_DIALOGUES:
        return None
    if np.isin(values_G, (0.0, 1.0)).all():
        return wilson_interval(values_G)
    sums_GK = np.stack([values_G, np.ones_like(values_G)], axis=1)
    interval = bootstrap_interval(sums_GK, lambda sums_XK: sums_XK[..., 0] / sums_XK[..., 1])
    return ConfidenceInterval(max(0.0, interval.low), min(1.0, interval.high))  # a share is between 0 and 1
