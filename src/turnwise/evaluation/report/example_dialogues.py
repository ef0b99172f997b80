"""Selects dialogues to show: those with the largest gains and losses against the base, or the lowest quality.

Axes: I samples (one reply in one dialogue each), S seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.core.messages import Message
from turnwise.evaluation.metric import FloatArray
from turnwise.evaluation.metric_runner import MetricResult, reply_result
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.report.escaping import clean

MAX_EXAMPLES = 5  # per category

ShownMessages = tuple[tuple[str, str], ...]
"""Role and text of each message."""


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """A model's answers in one dialogue, one per seed, and their mean quality (chrF against the reference)."""

    quality: float
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExampleDialogue:
    """The history of a dialogue, its reference reply, and the answers of the models."""

    history: ShownMessages
    reference: str
    model: ModelAnswers
    base: ModelAnswers | None = None


@dataclass(frozen=True, slots=True)
class ExampleDialogues:
    """Selected dialogues: `gains` and `losses` against the base, or `worst` without a base."""

    gains: tuple[ExampleDialogue, ...] = ()
    losses: tuple[ExampleDialogue, ...] = ()
    worst: tuple[ExampleDialogue, ...] = ()


def select_dialogues(model: Mapping[str, MetricResult], base: Mapping[str, MetricResult] | None) -> ExampleDialogues:
    """Select dialogues by sentence chrF against the reference, averaged over seeds."""
    replies = reply_result(model)
    if replies is None:
        return ExampleDialogues()
    model_I = _quality(replies)
    if base is None:
        return ExampleDialogues(
            worst=tuple(_example(replies, None, index, model_I, model_I) for index in _lowest(model_I))
        )
    base_replies = base[replies.metric.NAME]
    base_I = _quality(base_replies)
    difference_I = model_I - base_I
    gains = [index for index in _lowest(-difference_I) if difference_I[index] > 0]
    losses = [index for index in _lowest(difference_I) if difference_I[index] < 0]
    return ExampleDialogues(
        *(
            tuple(_example(replies, base_replies, index, model_I, base_I) for index in indices)
            for indices in (gains, losses)
        )
    )


def shown_messages(messages: Sequence[Message]) -> ShownMessages:
    """Return roles and texts for display; each tool call is a line of the text."""
    return tuple((clean(message.role), clean(_text(message))) for message in messages)


def _text(message: Message) -> str:
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return "\n".join(([message.content] if message.content else []) + calls)


def _quality(replies: MetricResult) -> FloatArray:
    """The mean chrF of each sample's answers, `(I)`."""
    (chrf,) = load_metrics(["chrf"])
    values_SI = [chrf.value(chrf.statistics(replies.samples, results)) for results in replies.results_by_seed]
    mean_I: FloatArray = np.mean(values_SI, axis=0)
    return mean_I


def _lowest(values_I: FloatArray) -> list[int]:
    return [int(index) for index in np.argsort(values_I, kind="stable")[:MAX_EXAMPLES]]


def _example(
    replies: MetricResult, base_replies: MetricResult | None, index: int, model_I: FloatArray, base_I: FloatArray
) -> ExampleDialogue:
    sample = replies.samples[index]
    return ExampleDialogue(
        shown_messages(sample.generation_queries[0].history),
        clean(sample.reference),
        _model_answers(replies, index, model_I),
        None if base_replies is None else _model_answers(base_replies, index, base_I),
    )


def _model_answers(replies: MetricResult, index: int, quality_I: FloatArray) -> ModelAnswers:
    answers = (results[index].outputs[0].text for results in replies.results_by_seed)
    return ModelAnswers(float(quality_I[index]), tuple(map(clean, answers)))
