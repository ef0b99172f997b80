"""Checks of the options of `turnwise evaluate`, before the first model is loaded."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnwise.cli.evaluate_options import EvaluateOptions
    from turnwise.data.read_options import ReadOptions
    from turnwise.evaluation.metric import Metric


def check_options(model: str | None, options: "EvaluateOptions", data_options: "ReadOptions") -> "list[Metric]":
    """Check the options for a chat model, and return the metrics. Raises `UserError`."""
    from turnwise.app.classifier_evaluation import is_classifier_name
    from turnwise.app.evaluation_run import check_report_dir
    from turnwise.app.systems_under_test import check_system_exists, parse_baseline
    from turnwise.core.errors import UserError

    comparison, models, run = options.comparison, options.models, options.run
    if run.none_label is not None:
        raise UserError("--none-label is for classifiers.")
    metrics = select_metrics(options.measure.metrics, options.measure.golden, options.measure.discriminator)
    if models.quantize is not None and parse_baseline(model) is not None:
        raise UserError("--quantize applies to the weights of MODEL; a baseline has none.")
    if run.fail_if_worse:
        require_verdict(metrics, comparison.against)
    check_serving_options(models.interaction_format, models.context_policy)
    for system in [model] if comparison.against is None else [model, comparison.against]:
        check_system_exists(system, data_options)
    if is_classifier_name(comparison.against):
        raise UserError(f"{comparison.against} is a classifier, which cannot be compared with a chat model.")
    if comparison.out is not None:
        check_report_dir(comparison.out)
    check_judge(options.judge.judge_url, options.judge.judge_model, comparison.against)
    require_data(comparison.data, metrics, temperature_sweep=options.measure.temperature_sweep)
    return metrics


def select_metrics(names: str | None, golden: Path | None, discriminator: str | None = None) -> "list[Metric]":
    """The metrics of --metrics, with the cases of --golden and the scores of --discriminator.

    Raises:
        InvalidParameter: there is no such metric.
        UserError: the cases cannot be read, there is no such discriminator, or it is missing.
    """
    from turnwise.evaluation.metrics import load_metrics

    chosen = load_metrics([name.strip() for name in names.split(",")] if names else None)
    if golden is not None:
        chosen = _with_golden_cases(chosen, golden)
    if discriminator is not None:
        return _with_discriminator(chosen, discriminator)
    if names is None:
        return [metric for metric in chosen if metric.NAME != "realism"]
    if any(metric.NAME == "realism" for metric in chosen):
        from turnwise.core.errors import UserError

        raise UserError("The metric realism needs --discriminator FOLDER, such as MODEL/discriminator.")
    return chosen


def _with_golden_cases(chosen: "Sequence[Metric]", golden: Path) -> "list[Metric]":
    from turnwise.evaluation.golden_set import load_golden_cases
    from turnwise.evaluation.metrics import load_metrics
    from turnwise.evaluation.metrics.golden import GoldenMetric

    load_metrics(["golden"])  # sets the metric's name
    return [GoldenMetric(load_golden_cases(golden)), *(metric for metric in chosen if metric.NAME != "golden")]


def _with_discriminator(chosen: "Sequence[Metric]", discriminator: str) -> "list[Metric]":
    from turnwise.app.discriminators import open_discriminator
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.evaluation.metrics import load_metrics
    from turnwise.evaluation.metrics.realism import RealismMetric
    from turnwise.models.discriminator_folder import check_discriminator

    folder = resolve_model_folder(discriminator)
    check_discriminator(folder)
    load_metrics(["realism"])  # sets the metric's name
    realism = RealismMetric(partial(open_discriminator, folder))
    return [*(metric for metric in chosen if metric.NAME != "realism"), realism]


def require_verdict(metrics: "Sequence[Metric]", against: str | None) -> None:
    """Raise `UserError` if --fail-if-worse cannot get a verdict."""
    from turnwise.core.errors import UserError

    if against is None:
        raise UserError("--fail-if-worse needs a model to compare with: add --against MODEL.")
    if not any(metric.COUNTS_FOR_VERDICT for metric in metrics):
        from turnwise.evaluation.metrics import load_metrics

        names = ", ".join(metric.NAME for metric in metrics)
        counting = ", ".join(metric.NAME for metric in load_metrics() if metric.COUNTS_FOR_VERDICT)
        raise UserError(
            f"--fail-if-worse needs a metric that counts for the verdict; {names} cannot decide it. "
            f"Use one of: {counting}."
        )


def check_serving_options(format: str | None, context_policy: str) -> None:
    """Raise `UserError` for an unknown or invalid interaction format or context policy."""
    from turnwise.chat.context_policies import CONTEXT_POLICIES
    from turnwise.chat.formats import load_format

    CONTEXT_POLICIES.load(context_policy)
    if format is not None:
        load_format(format)


def check_judge(url: str | None, model: str | None, against: str | None) -> None:
    """Raise `UserError` if the options of the judge are incomplete, or its address is invalid."""
    from turnwise.core.errors import UserError

    if url is None and model is None:
        return
    if url is None or model is None or against is None:
        raise UserError("A judge needs --judge-url URL, --judge-model NAME and --against.")
    from turnwise.evaluation.judge_endpoint import check_endpoint

    check_endpoint(url)


def require_data(data: Path | None, metrics: "Sequence[Metric]", *, temperature_sweep: bool) -> None:
    """Raise `UserError` if --data is missing and needed."""
    from turnwise.core.errors import UserError

    users = [metric.NAME for metric in metrics if not metric.IS_PROBE] + ["--temperature-sweep"] * temperature_sweep
    if data is None and users:
        raise UserError(
            "Without --data, only golden, contradiction, recall and knowledge can be computed: pass --data FILE, or "
            "--metrics golden,contradiction,recall,knowledge. "
            f"Data {'is' if len(users) == 1 else 'are'} needed for {', '.join(users)}."
        )
