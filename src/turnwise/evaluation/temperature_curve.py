"""Quality against variety over the temperature: one without the other is easily had (Caccia et al. 2020)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from turnwise.core.messages import Conversation
from turnwise.evaluation import statistics
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric_runner import run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import GenerationQuery
from turnwise.evaluation.statistics import ConfidenceInterval
from turnwise.evaluation.system_under_test import SystemUnderTest

MOST = 100  # dialogues that are answered at every temperature


@dataclass(frozen=True, slots=True)
class TemperaturePoint:
    """What answers at one temperature are worth.

    Attributes:
        subject: whose.
        temperature: they were drawn at.
        chrf: quality, with its interval.
        distinct_2: variety within all answers.
        self_bleu: likeness between them.
    """

    subject: str
    temperature: float
    chrf: float
    chrf_interval: ConfidenceInterval
    distinct_2: float
    self_bleu: float


def run_temperature_curve(
    subject: SystemUnderTest,
    dialogues: Sequence[Conversation],
    temperatures: Sequence[float],
    seeds: Sequence[int],
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[TemperaturePoint]:
    """A point for every temperature; none where no dialogue has an answer.

    At temperature 0 the answer is the same with every seed, and asked for once.
    """
    chosen = load_metrics(["chrf", "distinct_2", "self_bleu"])
    found = []
    for temperature in temperatures:
        items = [
            replace(item, generation_queries=tuple(_at(temperature, ask) for ask in item.generation_queries))
            for item in last_reply_samples(dialogues)[:MOST]
        ]
        if not items:
            break

        def progress(_: str, done: int, total: int, temperature: float = temperature) -> None:
            if total:
                on_progress(f"answers at temperature {temperature:g}", done, total)

        measured = run_metrics(
            subject, chosen, {metric.NAME: items for metric in chosen}, seeds=seeds, on_progress=progress
        )
        values = {name: statistics.metric_value(each.sums_GK, each.metric.value) for name, each in measured.items()}
        sums_GK = measured["chrf"].sums_GK
        found.append(
            TemperaturePoint(
                subject.name, temperature, values["chrf"],
                statistics.bootstrap_interval(sums_GK, measured["chrf"].metric.value),
                values["distinct_2"], values["self_bleu"],
            )
        )  # fmt: skip
    return found


def _at(temperature: float, ask: GenerationQuery) -> GenerationQuery:
    return replace(ask, temperature=temperature or None, greedy=not temperature)
