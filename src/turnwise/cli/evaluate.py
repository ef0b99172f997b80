"""`turnwise evaluate`: measure a model, and compare it with another one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.data_flags import data_source_flags
from turnwise.cli.shared_flags import (
    ContextPolicy,
    InteractionFormatName,
    PromptTemplate,
    PromptVariable,
    Threads,
    sampling_flags,
)
from turnwise.core.inference import Quantization

if TYPE_CHECKING:
    from turnwise.app.evaluation_data import EvaluationData
    from turnwise.data.read_options import ReadOptions
    from turnwise.evaluation.evaluate import Evaluation
    from turnwise.evaluation.metric import Metric
    from turnwise.evaluation.samples import Sample


DEFAULT_LIMIT, DEFAULT_REPEATS = 500, 3


@sampling_flags
@data_source_flags
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Model name or folder (default: tiny), a classifier, or a baseline: retrieval:TRAIN.jsonl, "
            "ngram:TRAIN.jsonl.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Held-out dialogues, or annotated texts for a classifier: a file or folder. The metrics golden, "
            "contradiction, recall and knowledge bring their own test cases and need no data."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            "--baseline",
            help="Model or baseline to compare with; 'tiny' is the small bundled model. For a classifier: another one.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, report.md and scorecard.json.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of dialogues (default: 500), or of texts (default: all).", min=1),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Number of answers to sample per dialogue.", min=1)] = DEFAULT_REPEATS,
    seed: Annotated[
        int, typer.Option(help="Random seed for everything but sampling: distractors, typos, test cases.")
    ] = 0,
    metrics: Annotated[
        str | None, typer.Option(help="Metrics to compute, separated by commas: selection,chrf,… Default: all.")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(help="Golden cases to use instead of the bundled ones: a YAML file or folder."),
    ] = None,
    discriminator: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Discriminator of the metric realism, such as MODEL/discriminator. A model that was trained against "
            "it can exploit it; a claim needs another one.",
        ),
    ] = None,
    temperature_sweep: Annotated[
        bool,
        typer.Option("--temperature-sweep", help="Also measure quality and diversity at temperatures from 0 to 1.3."),
    ] = False,
    interaction_format: InteractionFormatName = None,
    context_policy: ContextPolicy = "refuse",
    max_model_len: Annotated[
        int | None, typer.Option(help="Use only so many tokens of the context of the models. Default: all.", min=16)
    ] = None,
    prompt_template: PromptTemplate = None,
    prompt_variable: PromptVariable = None,
    quantize: Annotated[
        Quantization | None, typer.Option(help="Quantize the weights of MODEL, as serve does. A classifier: int8 only.")
    ] = None,
    threads: Threads = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with code 1 if the verdict is worse or mixed.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Reuse the answers of earlier evaluations, also of interrupted ones.")
    ] = True,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows",
            help="Skip bad rows, dialogues that a chat template rejects, and texts whose label a classifier does not "
            "know.",
        ),
    ] = False,
    none_label: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="For a classifier: label of texts for which no label is the right answer."),
    ] = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON.")] = False,
    judge_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --against: OpenAI-compatible address of a judge model that compares the answers. "
            "Its API key is read from TURNWISE_JUDGE_KEY.",
        ),
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Name of the judge model.")] = None,
    *,
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
    import shlex
    import sys

    from rich.console import Console

    from turnwise.app.classifier_evaluation import is_classifier_name
    from turnwise.app.evaluation_data import EvaluationData, load_evaluation_data
    from turnwise.app.evaluation_run import EvaluationConfig, check_report_dir, run_evaluation
    from turnwise.app.prompts.library import render_prompt
    from turnwise.app.systems_under_test import check_system_exists, parse_baseline
    from turnwise.cli.evaluate_checks import (
        check_judge,
        check_serving_options,
        require_data,
        require_verdict,
        select_metrics,
    )
    from turnwise.cli.evaluate_classifier import evaluate_classifier_command, reject_chat_options
    from turnwise.cli.progress_bars import evaluation_progress
    from turnwise.core.errors import UserError

    if is_classifier_name(model):
        reject_chat_options(
            sampling=bool(sampling), metrics=metrics, golden=golden, discriminator=discriminator,
            temperature_sweep=temperature_sweep, repeats=repeats != DEFAULT_REPEATS,
            interaction_format=interaction_format,
            context_policy=context_policy != "refuse", max_model_len=max_model_len,
            judge_url=judge_url, judge_model=judge_model, cache=not cache,
        )  # fmt: skip
        evaluate_classifier_command(
            str(model), data, against, out, data_options, limit=limit, none_label=none_label, quantize=quantize,
            threads=threads, skip_bad_rows=skip_bad_rows, json_out=json_out, fail_if_worse=fail_if_worse,
        )  # fmt: skip
        return
    if none_label is not None:
        raise UserError("--none-label is for classifiers.")
    # Everything that can be checked is checked before the first model is loaded.
    chosen_metrics = select_metrics(metrics, golden, discriminator)
    if quantize is not None and parse_baseline(model) is not None:
        raise UserError("--quantize applies to the weights of MODEL; a baseline has none.")
    if fail_if_worse:
        require_verdict(chosen_metrics, against)
    systems = [model] if against is None else [model, against]
    check_serving_options(interaction_format, context_policy)
    for system in systems:
        check_system_exists(system, data_options)
    if is_classifier_name(against):
        raise UserError(f"{against} is a classifier, which cannot be compared with a chat model.")
    if out is not None:
        check_report_dir(out)
    check_judge(judge_url, judge_model, against)
    require_data(data, chosen_metrics, temperature_sweep=temperature_sweep)
    console = Console(stderr=True, highlight=False)
    loaded = EvaluationData()
    if data is not None:
        loaded = load_evaluation_data(
            data, limit or DEFAULT_LIMIT, systems, data_options, skip_bad_rows=skip_bad_rows, format=interaction_format
        )
        _report_data(data, loaded, console)

    def on_plan(samples_by_metric: "Mapping[str, Sequence[Sample]]") -> None:
        if fail_if_worse:
            require_verdict([metric for metric in chosen_metrics if metric.NAME in samples_by_metric], against)
        _report_missing_samples(chosen_metrics, samples_by_metric, console)

    config = EvaluationConfig(
        model=model,
        base=against,
        dialogues=loaded.dialogues,
        metrics=chosen_metrics,
        sampling=sampling,
        repeats=repeats,
        seed=seed,
        sweep_temperatures=temperature_sweep,
        quantize=quantize,
        threads=threads,
        read_options=data_options,
        serving={
            "format": interaction_format,
            "context_policy": context_policy,
            "max_model_len": max_model_len,
            "system_prompt": render_prompt(prompt_template, prompt_variable or ()),
        },
        use_cache=cache,
        judge_url=judge_url,
        judge_model=judge_model or "",
        metadata={
            "command": shlex.join(["turnwise", *sys.argv[1:]]),
            **({"file": str(data)} if data is not None else {}),
        },
        report_dir=out,
    )
    try:
        with evaluation_progress(console) as on_progress:
            evaluation = run_evaluation(config, on_plan=on_plan, on_progress=on_progress)
    except KeyboardInterrupt:
        hint = "The same command resumes: finished answers are in the cache." if cache else "No answers were saved."
        console.print(f"\nStopped. {hint}")
        raise typer.Exit(130) from None
    _print_evaluation(evaluation, console, out, json_out=json_out)
    verdict = evaluation.scorecard.verdict
    if fail_if_worse and verdict is None:
        raise UserError(
            "--fail-if-worse: there is no verdict, because no metric that counts for it applies to both systems."
        )
    if fail_if_worse and verdict in ("worse", "mixed"):
        raise typer.Exit(1)


def _report_data(path: Path, data: "EvaluationData", console: Any) -> None:
    """Print which split was read, and what was skipped."""
    if data.split is not None:
        console.print(f"{path} is a split folder; its {data.split} split is used.", markup=False)
    if data.num_bad_rows:
        console.print(f"{data.num_bad_rows:,} bad rows skipped")
    if data.rejected:
        console.print(f"Dialogues skipped: {len(data.rejected):,}. The first: {data.rejected[0]}", markup=False)


def _report_missing_samples(
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


def _print_evaluation(evaluation: "Evaluation", console: Any, out: Path | None, *, json_out: bool) -> None:
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
