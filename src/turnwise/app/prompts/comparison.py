"""Compares variants of a prompt on dialogues or golden cases, with the statistics of scorecards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from turnwise.app.evaluation_run import EvaluationConfig, run_evaluation
from turnwise.core.exchanges import SYSTEM_ROLES
from turnwise.core.messages import Conversation
from turnwise.evaluation.evaluate import OnEvaluationProgress
from turnwise.evaluation.metric import Metric
from turnwise.evaluation.scorecard import Scorecard, correct_together


@dataclass(frozen=True, slots=True)
class PromptComparison:
    """What is compared.

    Attributes:
        model: the model or its folder; None: the default model.
        prompts: system prompt of each variant by its reference. All others are compared with the first one.
        dialogues: held-out dialogues. Their own system messages are left out.
        metrics: the metrics.
        sampling: generation parameters that replace the model's defaults.
        repeats: number of answers per history.
        threads: processor threads.
        serving: more arguments of `open_chat_service`.
    """

    model: str | None
    prompts: Mapping[str, str]
    dialogues: Sequence[Conversation]
    metrics: Sequence[Metric]
    sampling: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 1
    threads: int | None = None
    serving: Mapping[str, Any] = field(default_factory=dict)


def compare_prompts(
    comparison: PromptComparison, *, on_progress: OnEvaluationProgress = lambda *_: None
) -> dict[str, Scorecard]:
    """A scorecard of each variant against the first one, by reference.

    Differences have paired bootstrap intervals and permutation tests; Holm's correction is over the metrics of all
    variants together, so that testing more variants does not find more differences by chance.

    Raises:
        UserError: as `run_evaluation`.
    """
    first, *variants = comparison.prompts
    dialogues = [_without_system_messages(dialogue) for dialogue in comparison.dialogues]
    cards = [_evaluate(comparison, first, variant, dialogues, on_progress) for variant in variants]
    return dict(zip(variants, correct_together(cards), strict=True))


def _evaluate(
    comparison: PromptComparison,
    first: str,
    variant: str,
    dialogues: Sequence[Conversation],
    on_progress: OnEvaluationProgress,
) -> Scorecard:
    serving, base_serving = (
        {**comparison.serving, "system_prompt": comparison.prompts[reference], "name": reference}
        for reference in (variant, first)
    )
    config = EvaluationConfig(
        model=comparison.model,
        base=comparison.model,
        dialogues=dialogues,
        metrics=comparison.metrics,
        sampling=comparison.sampling,
        repeats=comparison.repeats,
        threads=comparison.threads,
        serving=serving,
        base_serving=base_serving,
    )
    return run_evaluation(config, on_progress=on_progress).scorecard


def _without_system_messages(dialogue: Conversation) -> Conversation:
    return replace(dialogue, messages=tuple(m for m in dialogue.messages if m.role not in SYSTEM_ROLES))


def sentences(cards: Mapping[str, Scorecard], first: str) -> Iterator[str]:
    """One sentence per variant: what it is better or worse at than the first one, or that there is no difference."""
    for variant, card in cards.items():
        verdict = card.verdict or "no difference"
        if verdict == "no difference":
            yield f"{variant} and {first}: no difference."
        else:
            yield f"{variant} is {verdict} {'compared with' if verdict == 'mixed' else 'than'} {first}."
