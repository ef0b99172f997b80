"""Quality and diversity of answers at several temperatures.

Either can be had at the cost of the other, so they are shown as a curve (Caccia et al. 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from turnwise.core.messages import Conversation
from turnwise.evaluation import statistics
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric_runner import OnQueryProgress, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import GenerationQuery
from turnwise.evaluation.statistics import ConfidenceInterval
from turnwise.evaluation.system_under_test import SystemUnderTest

MAX_DIALOGUES = 100  # dialogues per temperature


@dataclass(frozen=True, slots=True)
class TemperaturePoint:
    """Quality and diversity of a system's answers at one temperature.

    Attributes:
        system: the system's name.
        temperature: the sampling temperature; 0 is greedy.
        chrf: chrF against the references (quality).
        chrf_interval: confidence interval of `chrf`.
        distinct_2: share of distinct bigrams in all answers (diversity).
        self_bleu: BLEU of the answers against each other.
    """

    system: str
    temperature: float
    chrf: float
    chrf_interval: ConfidenceInterval
    distinct_2: float
    self_bleu: float


def run_temperature_sweep(
    system: SystemUnderTest,
    dialogues: Sequence[Conversation],
    temperatures: Sequence[float],
    seeds: Sequence[int],
    on_progress: OnQueryProgress = lambda *_: None,
) -> list[TemperaturePoint]:
    """Return a point per temperature; none if no dialogue has an assistant reply."""
    sweep_metrics = load_metrics(["chrf", "distinct_2", "self_bleu"])
    points = []
    for temperature in temperatures:
        samples = [
            replace(
                sample,
                generation_queries=tuple(_with_temperature(query, temperature) for query in sample.generation_queries),
            )
            for sample in last_reply_samples(dialogues)[:MAX_DIALOGUES]
        ]
        if not samples:
            break

        def on_answers(_: str, done: int, total: int, temperature: float = temperature) -> None:
            if total:
                on_progress(f"answers at temperature {temperature:g}", done, total)

        samples_by_metric = {metric.NAME: samples for metric in sweep_metrics}
        results = run_metrics(system, sweep_metrics, samples_by_metric, seeds=seeds, on_progress=on_answers)
        values = {
            name: statistics.metric_value(result.sums_GK, result.metric.value) for name, result in results.items()
        }
        chrf = results["chrf"]
        points.append(
            TemperaturePoint(
                system.name, temperature, values["chrf"],
                statistics.bootstrap_interval(chrf.sums_GK, chrf.metric.value),
                values["distinct_2"], values["self_bleu"],
            )
        )  # fmt: skip
    return points


def _with_temperature(query: GenerationQuery, temperature: float) -> GenerationQuery:
    # A greedy answer does not depend on the seed, so temperature 0 is generated once and not once per seed.
    return replace(query, temperature=temperature or None, greedy=not temperature)
