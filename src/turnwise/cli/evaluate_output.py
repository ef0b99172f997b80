"""What `turnwise evaluate` prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from turnwise.core.plurals import pluralize

if TYPE_CHECKING:
    from turnwise.app.evaluation_data import EvaluationData
    from turnwise.evaluation.evaluate import Evaluation
    from turnwise.evaluation.metric import Metric
    from turnwise.evaluation.samples import Sample


def report_data(path: Path, data: "EvaluationData", console: Any) -> None:
    """Print which split was read, and what was skipped."""
    if data.split is not None:
        console.print(f"{path} is a split folder; its {data.split} split is used.", markup=False)
    if data.num_bad_rows:
        console.print(f"{pluralize(data.num_bad_rows, 'bad row')} skipped")
    if data.rejected:
        console.print(f"Dialogues skipped: {len(data.rejected):,}. The first: {data.rejected[0]}", markup=False)


def report_missing_samples(
    metrics: "Sequence[Metric]", samples_by_metric: "Mapping[str, Sequence[Sample]]", console: Any
) -> None:
    """Print which metrics have no samples in the data."""
    missing = [metric.NAME for metric in metrics if metric.NAME not in samples_by_metric]
    if not missing:
        return
    planned = [metric for metric in metrics if metric.NAME in samples_by_metric]
    message = f"The data has no samples for {', '.join(missing)}"
    if all(metric.IS_PROBE for metric in planned):
        names = ", ".join(metric.NAME for metric in planned)
        message += f": only {names} {'is' if len(planned) == 1 else 'are'} computed, without the data"
    console.print(f"{message}.", markup=False)


def print_evaluation(evaluation: "Evaluation", console: Any, out: Path | None, *, json_out: bool) -> None:
    """Print the scorecard, what is not applicable, and where the report is."""
    import json

    from rich.console import Console

    from turnwise.cli.scorecard_table import print_scorecard

    for metric, reason in evaluation.not_applicable.items():
        console.print(f"Not applicable: {metric} ({reason}).", markup=False)
    if out is not None:
        console.print(f"The report is {out / 'report.html'}.", markup=False)
    if json_out:
        typer.echo(json.dumps(evaluation.scorecard.as_dict(), indent=2, ensure_ascii=False))
    else:
        print_scorecard(evaluation.scorecard, Console())
