"""`turnwise evaluate`: measure a model, and compare it with another one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.data_flags import data_source_flags
from turnwise.cli.evaluate_options import DEFAULT_LIMIT, DEFAULT_REPEATS, EvaluateOptions
from turnwise.cli.shared_flags import option_groups, sampling_flags

if TYPE_CHECKING:
    from turnwise.app.evaluation_data import EvaluationData
    from turnwise.app.evaluation_run import EvaluationConfig
    from turnwise.data.read_options import ReadOptions
    from turnwise.evaluation.metric import Metric
    from turnwise.evaluation.samples import Sample


@sampling_flags
@data_source_flags
@option_groups
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Model name or folder (default: tiny), a classifier, or a baseline: retrieval:TRAIN.jsonl, "
            "ngram:TRAIN.jsonl.",
        ),
    ] = None,
    *,
    options: EvaluateOptions,
    sampling: dict[str, Any],
    data_options: "ReadOptions",
) -> None:
    """Measure a model on held-out data; with --against, compare two models and test the differences.

    Answers are sampled with the same parameters as when the model is served. Sampling options apply to both models.
    After Ctrl-C, the same command resumes.

    **Examples**

    ```
    turnwise evaluate --data test.jsonl
    turnwise evaluate runs/mine --metrics golden
    turnwise evaluate runs/mine --data test.jsonl --against box --out report
    turnwise evaluate runs/mine --data test.jsonl --against retrieval:train.jsonl
    turnwise evaluate gpt2 --data test.jsonl --interaction-format human_assistant
    turnwise evaluate runs/mine --quantize int8 --against runs/mine --data test.jsonl
    turnwise evaluate runs/intents --data valid.csv --against runs/older --out report
    turnwise evaluate runs/mine --data test.jsonl --metrics selection,golden --json
    turnwise evaluate runs/mine --data test.jsonl --metrics realism --discriminator runs/fresh/discriminator
    turnwise evaluate runs/mine --data test.jsonl --against box --judge-url http://localhost:9000/v1 --judge-model big
    ```
    """
    from turnwise.app.classifier_evaluation import is_classifier_name

    if is_classifier_name(model):
        _evaluate_classifier(str(model), options, sampling, data_options)
    else:
        _evaluate_chat_model(model, options, sampling, data_options)


def _evaluate_classifier(
    model: str, options: EvaluateOptions, sampling: Mapping[str, Any], data_options: "ReadOptions"
) -> None:
    from turnwise.cli.evaluate_classifier import evaluate_classifier_command, reject_chat_options

    comparison, measure, models, run = options.comparison, options.measure, options.models, options.run
    reject_chat_options(
        sampling=bool(sampling), metrics=measure.metrics, golden=measure.golden, discriminator=measure.discriminator,
        temperature_sweep=measure.temperature_sweep, repeats=measure.repeats != DEFAULT_REPEATS,
        interaction_format=models.interaction_format, context_policy=models.context_policy != "refuse",
        max_model_len=models.max_model_len, judge_url=options.judge.judge_url, judge_model=options.judge.judge_model,
        cache=not run.cache, events=run.events,
    )  # fmt: skip
    evaluate_classifier_command(
        model, comparison.data, comparison.against, comparison.out, data_options, limit=comparison.limit,
        none_label=run.none_label, quantize=models.quantize, threads=models.threads, skip_bad_rows=run.skip_bad_rows,
        json_out=run.json_out, fail_if_worse=run.fail_if_worse,
    )  # fmt: skip


def _evaluate_chat_model(
    model: str | None, options: EvaluateOptions, sampling: dict[str, Any], data_options: "ReadOptions"
) -> None:
    from rich.console import Console

    from turnwise.app.evaluation_data import EvaluationData, load_evaluation_data
    from turnwise.app.evaluation_run import run_evaluation
    from turnwise.cli.evaluate_checks import check_options, require_verdict
    from turnwise.cli.evaluate_output import print_evaluation, report_data, report_missing_samples
    from turnwise.cli.progress_bars import evaluation_progress
    from turnwise.core.errors import UserError
    from turnwise.core.event_log import open_event_log

    comparison, run = options.comparison, options.run
    metrics = check_options(model, options, data_options)
    console = Console(stderr=True, highlight=False)
    loaded = EvaluationData()
    if comparison.data is not None:
        systems = [model] if comparison.against is None else [model, comparison.against]
        loaded = load_evaluation_data(
            comparison.data, comparison.limit or DEFAULT_LIMIT, systems, data_options,
            skip_bad_rows=run.skip_bad_rows, format=options.models.interaction_format,
        )  # fmt: skip
        report_data(comparison.data, loaded, console)

    def on_plan(samples_by_metric: "Mapping[str, Sequence[Sample]]") -> None:
        if run.fail_if_worse:
            require_verdict([metric for metric in metrics if metric.NAME in samples_by_metric], comparison.against)
        report_missing_samples(metrics, samples_by_metric, console)

    config = _evaluation_config(model, options, loaded, metrics, sampling, data_options)
    try:
        with open_event_log(run.events) as events, evaluation_progress(console, events) as on_progress:
            evaluation = run_evaluation(config, on_plan=on_plan, on_progress=on_progress)
    except KeyboardInterrupt:
        hint = "The same command resumes: finished answers are in the cache." if run.cache else "No answers were saved."
        console.print(f"\nStopped. {hint}")
        raise typer.Exit(130) from None
    print_evaluation(evaluation, console, comparison.out, json_out=run.json_out)
    verdict = evaluation.scorecard.verdict
    if run.fail_if_worse and verdict is None:
        raise UserError(
            "--fail-if-worse: there is no verdict, because no metric that counts for it applies to both systems."
        )
    if run.fail_if_worse and verdict in ("worse", "mixed"):
        raise typer.Exit(1)


def _evaluation_config(
    model: str | None,
    options: EvaluateOptions,
    loaded: "EvaluationData",
    metrics: "Sequence[Metric]",
    sampling: dict[str, Any],
    data_options: "ReadOptions",
) -> "EvaluationConfig":
    import shlex
    import sys

    from turnwise.app.evaluation_run import EvaluationConfig
    from turnwise.app.prompts.library import render_prompt

    comparison, measure, models = options.comparison, options.measure, options.models
    return EvaluationConfig(
        model=model,
        base=comparison.against,
        dialogues=loaded.dialogues,
        metrics=metrics,
        sampling=sampling,
        repeats=measure.repeats,
        seed=measure.seed,
        sweep_temperatures=measure.temperature_sweep,
        quantize=models.quantize,
        threads=models.threads,
        read_options=data_options,
        serving={
            "format": models.interaction_format,
            "context_policy": models.context_policy,
            "max_model_len": models.max_model_len,
            "system_prompt": render_prompt(models.prompt_template, models.prompt_variable or ()),
        },
        use_cache=options.run.cache,
        judge_url=options.judge.judge_url,
        judge_model=options.judge.judge_model or "",
        metadata={
            "command": shlex.join(["turnwise", *sys.argv[1:]]),
            **({"file": str(comparison.data)} if comparison.data is not None else {}),
        },
        report_dir=comparison.out,
    )
