"""What was really said: the dialogues in which a model gained and lost most, or did worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.core.messages import Message
from turnwise.evaluation.metric import FloatArray
from turnwise.evaluation.metric_runner import MetricResult, reply_result
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.report.escaping import clean

SHOWN = 5  # of each kind
Turns = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """What one of them answered, with each seed, and how near that is to the reference on the average."""

    quality: float
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExampleDialogue:
    """A dialogue, what a person said at its end, and what the models say there."""

    history: Turns
    reference: str
    model: ModelAnswers
    base: ModelAnswers | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """Those that are worth reading: `gains` and `losses` against the base, `worst` without one."""

    gains: tuple[ExampleDialogue, ...] = ()
    losses: tuple[ExampleDialogue, ...] = ()
    worst: tuple[ExampleDialogue, ...] = ()


def examples(model: Mapping[str, MetricResult], base: Mapping[str, MetricResult] | None) -> Examples:
    """Choose by sentence chrF against the reference, averaged over seeds."""
    replies = reply_result(model)
    if replies is None:
        return Examples()
    new_I = _quality(replies)
    if base is None:
        return Examples(worst=tuple(_example(replies, None, at, new_I, new_I) for at in _lowest(new_I)))
    before = base[replies.metric.NAME]
    old_I = _quality(before)
    apart_I = new_I - old_I
    gains = [at for at in _lowest(-apart_I) if apart_I[at] > 0]
    losses = [at for at in _lowest(apart_I) if apart_I[at] < 0]
    return Examples(
        *(tuple(_example(replies, before, at, new_I, old_I) for at in chosen) for chosen in (gains, losses))
    )


def turns(messages: Sequence[Message]) -> Turns:
    """Messages as they are shown: who, and what; calls of tools in a line each."""
    return tuple((clean(message.role), clean(_said(message))) for message in messages)


def _said(message: Message) -> str:
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return "\n".join(([message.content] if message.content else []) + calls)


def _quality(replies: MetricResult) -> FloatArray:
    """chrF of each item's answers, `(I)`."""
    (chrf,) = load_metrics(["chrf"])
    mean: FloatArray = np.mean([chrf.value(chrf.statistics(replies.items, found)) for found in replies.found], axis=0)
    return mean


def _lowest(quality_I: FloatArray) -> list[int]:
    return [int(at) for at in np.argsort(quality_I, kind="stable")[:SHOWN]]


def _example(
    replies: MetricResult, before: MetricResult | None, at: int, new_I: FloatArray, old_I: FloatArray
) -> ExampleDialogue:
    item = replies.items[at]
    return ExampleDialogue(
        turns(item.generation_queries[0].history),
        clean(item.reference),
        _side(replies, at, new_I),
        None if before is None else _side(before, at, old_I),
    )


def _side(replies: MetricResult, at: int, quality_I: FloatArray) -> ModelAnswers:
    return ModelAnswers(float(quality_I[at]), tuple(clean(found[at].outputs[0].text) for found in replies.found))
