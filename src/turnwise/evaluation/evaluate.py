"""A whole evaluation: a model, perhaps another one beside it, and what that comes to."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation
from turnwise.evaluation.judge_summary import JudgeSummary
from turnwise.evaluation.llm_judge import LlmJudge
from turnwise.evaluation.metric import Metric
from turnwise.evaluation.metric_runner import MetricResult, are_reply_samples, plan_samples, reply_result, run_metrics
from turnwise.evaluation.samples import Sample
from turnwise.evaluation.scorecard import Scorecard, build_scorecard
from turnwise.evaluation.system_under_test import ModelUnderTest, SystemUnderTest
from turnwise.evaluation.temperature_curve import TemperaturePoint, run_temperature_curve
from turnwise.evaluation.template_check import template_error

LIBRARIES = ("turnwise", "torch", "numpy", "scipy", "sacrebleu", "rouge-score", "tokenizers")

OpenSystem = Callable[[], AbstractContextManager[SystemUnderTest]]
OnEvaluationProgress = Callable[[str, str, int, int], None]
"""Called with the subject's name, what is done, how many of it, and of how many. No two have the same name."""
OnPlan = Callable[[Mapping[str, Sequence[Sample]]], None]
"""Called with what each metric looks at; those that find nothing in the data are not among them."""


@dataclass(frozen=True)
class Evaluation:
    """What was found out.

    Attributes:
        card: the scorecard.
        model, base: everything that was measured, by metric.
        curve: quality and variety by temperature.
    """

    card: Scorecard
    model: Mapping[str, MetricResult]
    base: Mapping[str, MetricResult] | None
    curve: Sequence[TemperaturePoint]


def evaluate(
    opens_model: OpenSystem,
    opens_base: OpenSystem | None,
    dialogues: Sequence[Conversation],
    metrics: Sequence[Metric],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    seed: int = 0,
    temperatures: Sequence[float] = (),
    watch: OnEvaluationProgress = lambda *_: None,
    about: Mapping[str, Any] | None = None,
    judge: LlmJudge | None = None,
    on_plan: OnPlan = lambda _: None,
) -> Evaluation:
    """Evaluate a model, one after the other with what it is compared with, so that one at a time is in memory.

    Args:
        opens_model: opens what is evaluated.
        opens_base: opens what it is compared with; None compares with nothing.
        dialogues: held out.
        metrics: what is measured.
        seeds: histories are answered with each.
        seed: of whatever else is drawn, such as distractors.
        temperatures: to draw the curve of quality by variety at; none draws none.
        watch: told how far it is.
        about: more that is needed to repeat it, such as the command.
        judge: asked which answers are better, for the reader; the verdict does not rest on it.
        on_plan: told what each metric is going to look at, before anything is measured.

    Raises:
        InvalidData: nothing to measure, or to judge; a dialogue that a model's template refuses.
        UserError: a model that cannot be opened.
    """
    curve: list[TemperaturePoint] = []

    def look(
        opens: OpenSystem, kept: Sequence[Conversation], items: Mapping[str, Sequence[Sample]]
    ) -> dict[str, MetricResult]:
        with opens() as subject:
            names.append(_identity(subject))
            again = len(names) > 1 and names[0]["name"] == subject.name  # rounded, say
            shown = f"{subject.name} (base)" if again else subject.name
            _refuse_unreadable(subject, kept)

            def progress(what: str, done: int, total: int) -> None:
                watch(shown, what, done, total)

            found = run_metrics(subject, metrics, items, seeds=seeds, on_progress=progress)
            curve.extend(run_temperature_curve(subject, kept, temperatures, seeds, progress))
            return found

    names: list[dict[str, Any]] = []
    items = plan_samples(metrics, dialogues, seed)
    if not items:
        raise InvalidData(_nothing(metrics, dialogues))
    on_plan(items)
    if judge is not None and (opens_base is None or not any(are_reply_samples(each) for each in items.values())):
        raise InvalidData(
            "A judge compares two models' answers: name another model, and a metric that asks for answers."
        )
    model = look(opens_model, dialogues, items)
    base = None if opens_base is None else look(opens_base, dialogues, items)
    if not model or base == {}:
        raise InvalidData("None of these metrics can be measured here: this kind of model has no likelihoods.")
    if base is not None:  # what one of them does not have is not compared
        model, base = ({name: part[name] for name in model if name in base} for part in (model, base))
    known = {
        **(about or {}),
        "model": names[0],
        **({"base": names[1]} if len(names) > 1 else {}),
        "dialogues": len(dialogues),
        "data": data_digest(dialogues),
        "seeds": list(seeds),
        "seed": seed,
        "metrics": list(model),
        "versions": versions(),
    }
    card = build_scorecard(model, base, known)
    if judge is not None and base is not None:
        card = replace(card, judge=_opinion(judge, model, base, watch))
    return Evaluation(card, model, base, curve)


def _opinion(
    judge: LlmJudge, model: Mapping[str, MetricResult], base: Mapping[str, MetricResult], watch: OnEvaluationProgress
) -> JudgeSummary:
    new, old = reply_result(model), reply_result(base)
    assert new is not None, "was asked for"
    assert old is not None, "was asked for"
    return judge.opinion(new, old, lambda done, total: watch(judge.model, "verdicts", done, total))


def _nothing(metrics: Sequence[Metric], dialogues: Sequence[Conversation]) -> str:
    if not dialogues:
        return "There is nothing to evaluate: the data holds no dialogues."
    if any(last_reply(dialogue) for dialogue in dialogues):
        named = ", ".join(metric.NAME for metric in metrics)
        return f"There is nothing to evaluate: the data has nothing that {named} could look at."
    return "There is nothing to evaluate: no dialogue has an answer of the assistant's."


def data_digest(dialogues: Sequence[Conversation]) -> str:
    """What was said in these dialogues, as a hash."""
    found = hashlib.sha256()
    for dialogue in dialogues:
        found.update(repr([(message.role, message.content) for message in dialogue.messages]).encode())
    return f"sha256:{found.hexdigest()[:16]}"


def versions() -> dict[str, str]:
    """Of what computed it."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        found[name] = importlib.metadata.version(name)
    return found


def _identity(subject: SystemUnderTest) -> dict[str, Any]:
    """What a report says of it."""
    found: dict[str, Any] = {"name": subject.name}
    if isinstance(subject, ModelUnderTest):
        found |= {"fingerprint": subject.fingerprint, "parameters": subject.asked}
    return found


def _refuse_unreadable(subject: SystemUnderTest, dialogues: Sequence[Conversation]) -> None:
    if not isinstance(subject, ModelUnderTest):
        return
    for number, dialogue in enumerate(dialogues, 1):
        if (told := template_error(dialogue, {subject.name: subject.renderer})) is not None:
            raise InvalidData(f"Dialogue {number}: {told}")
