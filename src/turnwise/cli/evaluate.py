"""`turnwise evaluate`: how good a model is, and whether it is better than another one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.data_flags import data_source_flags
from turnwise.cli.scorecard_table import (
    MAX_ANSWER_TOKENS,
    check_report_dir,
    evaluation_progress,
    open_response_cache,
    print_scorecard,
)
from turnwise.cli.shared_flags import Threads, sampling_flags
from turnwise.core.inference import Quantization

if TYPE_CHECKING:
    from turnwise.core.messages import Conversation
    from turnwise.data.read_options import ReadOptions
    from turnwise.evaluation.baselines import BaselineName
    from turnwise.evaluation.evaluate import OpenSystem
    from turnwise.evaluation.llm_judge import LlmJudge
    from turnwise.evaluation.metric import Metric
    from turnwise.evaluation.samples import Sample

TEMPERATURES = (0.0, 0.3, 0.7, 1.0, 1.3)


@sampling_flags
@data_source_flags
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Model folder (default: the bundled model), or a baseline: retrieval:TRAIN.jsonl, ngram:TRAIN.jsonl."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Held-out dialogues, a file or folder. golden, contradiction, recall and knowledge need none."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Model or baseline to compare with; 'box' is the bundled model.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, report.md and scorecard.json.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of dialogues.", min=1)] = 500,
    seeds: Annotated[int, typer.Option(help="Number of answers sampled for each question.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Random seed for distractors, typos and built-in tests.")] = 0,
    metrics: Annotated[
        str | None, typer.Option(help="Metrics to compute, separated by commas: selection,chrf,… Default: all.")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(help="Test conversations to use instead of the bundled ones: a YAML file or folder."),
    ] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Also measure answers at several temperatures.")] = False,
    quantize: Annotated[Quantization | None, typer.Option(help="Quantize the weights of MODEL, as serve does.")] = None,
    threads: Threads = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with code 1 if the verdict is worse or mixed.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Store answers, so that a stopped or repeated evaluation reuses them.")
    ] = True,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Skip bad rows, and dialogues that a chat template refuses.")
    ] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON.")] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --against: a judge model at this OpenAI-compatible address compares the answers. "
            "TURNWISE_JUDGE_KEY holds its API key.",
        ),
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Name of the judge model.")] = None,
    *,
    sampling: dict[str, Any],
    data_options: "ReadOptions",
) -> None:
    """Measure a model on held-out dialogues; with --against, compare two models and test the differences.

    Answers are sampled with the settings that the model is served with; sampling options apply to both models. After
    Ctrl-C the same command continues.

    **Examples**

    ```
    turnwise evaluate --data test.jsonl
    turnwise evaluate runs/mine --metrics golden
    turnwise evaluate runs/mine --data test.jsonl --against box --out report
    turnwise evaluate runs/mine --data test.jsonl --against retrieval:train.jsonl
    turnwise evaluate runs/mine --quantize int8 --against runs/mine --data test.jsonl
    turnwise evaluate runs/mine --data test.jsonl --metrics selection,golden --json
    turnwise evaluate runs/mine --data test.jsonl --against box --judge http://localhost:9000/v1 --judge-model big
    ```
    """
    import json
    import shlex
    import sys

    from rich.console import Console

    from turnwise.core.errors import UserError
    from turnwise.evaluation.evaluate import evaluate as run
    from turnwise.evaluation.metrics import load_metrics
    from turnwise.evaluation.report import write_report

    chosen = load_metrics([name.strip() for name in metrics.split(",")] if metrics else None)
    if golden is not None:
        chosen = _with_golden(chosen, golden)
    if quantize is not None and _baseline(model):
        raise UserError("--quantize rounds the weights of MODEL, and a baseline has none. Leave it out.")
    if fail_if_worse:
        _require_verdict(chosen, against)
    sides = [model] if against is None else [model, against]
    for side in sides:
        _check_exists(side, data_options)
    if out is not None:
        check_report_dir(out)
    console = Console(stderr=True, highlight=False)
    dialogues = _dialogues(
        _require_data(data, chosen, curve=curve), limit, sides, console, data_options, skip_bad=skip_bad
    )
    sampling = {"max_tokens": MAX_ANSWER_TOKENS, **sampling}

    def on_plan(items: "Mapping[str, Sequence[Sample]]") -> None:
        if fail_if_worse:
            _require_verdict([metric for metric in chosen if metric.NAME in items], against)
        _report_empty_metrics(chosen, items, console)

    try:
        with open_response_cache(cache) as kept, evaluation_progress(console) as watch:
            found = run(
                _system_opener(model, against, kept, sampling, data_options, quantize, threads),
                None
                if against is None
                else _system_opener(against, model, kept, sampling, data_options, None, threads),
                dialogues,
                chosen,
                seeds=range(seeds),
                seed=seed,
                temperatures=TEMPERATURES if curve else (),
                watch=watch,
                about={
                    "command": shlex.join(["turnwise", *sys.argv[1:]]),
                    **({"file": str(data)} if data is not None else {}),
                },
                judge=_judge(judge, judge_model, against, kept),
                on_plan=on_plan,
            )
    except KeyboardInterrupt:
        told = "What was answered is kept, and the same command goes on from here." if cache else "Nothing was kept."
        console.print(f"\nStopped. {told}")
        raise typer.Exit(130) from None
    if out is not None:
        write_report(out, found.card, found.model, found.base, curve=found.curve)
        console.print(f"The report is {out / 'report.html'}.", markup=False)
    if json_out:
        typer.echo(json.dumps(found.card.as_dict(), indent=2, ensure_ascii=False))
    else:
        print_scorecard(found.card, Console())
    if fail_if_worse and found.card.verdict is None:  # what is judged needs likelihoods, which one side lacks
        raise UserError("--fail-if-worse found no verdict: nothing that one rests on could be measured of both.")
    if fail_if_worse and found.card.verdict in ("worse", "mixed"):
        raise typer.Exit(1)


def _with_golden(chosen: "list[Metric]", cases: Path) -> "list[Metric]":
    """The metrics with golden cases of one's own."""
    from turnwise.evaluation.golden_set import load_golden_cases
    from turnwise.evaluation.metrics import load_metrics
    from turnwise.evaluation.metrics.golden import GoldenMetric as Golden

    load_metrics(["golden"])  # which gives it its name
    return [Golden(load_golden_cases(cases)), *(each for each in chosen if each.NAME != "golden")]


def _require_verdict(chosen: "Sequence[Metric]", against: str | None) -> None:
    from turnwise.core.errors import UserError

    if against is None:
        raise UserError("--fail-if-worse needs --against: a model is worse than another one.")
    if not any(metric.COUNTS_FOR_VERDICT for metric in chosen):
        from turnwise.evaluation.metrics import load_metrics

        judged = ", ".join(metric.NAME for metric in load_metrics() if metric.COUNTS_FOR_VERDICT)
        named = ", ".join(metric.NAME for metric in chosen)
        raise UserError(f"--fail-if-worse needs a judged metric; {named} cannot decide a verdict. Judged are {judged}.")


def _check_exists(said: str | None, data_options: "ReadOptions") -> None:
    """Raise where a side of the comparison is not there: whoever is opened second would be missed only late."""
    from turnwise.app.model_names import resolve_model_folder

    if (baseline := _baseline(said)) is not None:
        from turnwise.data.sources import DataSource

        DataSource(baseline[1], options=data_options)
        return
    from turnwise.models.adapter_config import adapter_base_folder, is_adapter
    from turnwise.models.model_folders import read_hf_config

    folder = resolve_model_folder(said)
    read_hf_config(adapter_base_folder(folder) if is_adapter(folder) else folder)


def _require_data(data: Path | None, chosen: "Sequence[Metric]", *, curve: bool) -> Path | None:
    """The data. Raises where there is none and something looks at it."""
    from turnwise.core.errors import UserError

    looking = [metric.NAME for metric in chosen if not metric.IS_PROBE] + ["--curve"] * curve
    if data is None and looking:
        raise UserError(
            "Name held-out dialogues (a file or folder) with --data. Without data, only the built-in test cases can be "
            "measured: --metrics golden,contradiction,recall,knowledge. "
            f"{', '.join(looking)} {'uses' if len(looking) == 1 else 'use'} the data."
        )
    return data


def _report_empty_metrics(chosen: "Sequence[Metric]", items: "Mapping[str, Sequence[Sample]]", console: Any) -> None:
    """Say what has nothing to look at in the data."""
    missed = [metric.NAME for metric in chosen if metric.NAME not in items]
    if not missed:
        return
    if any(not metric.IS_PROBE for metric in chosen if metric.NAME in items):
        console.print(f"The data has nothing for {', '.join(missed)}.", markup=False)
        return
    left = ", ".join(metric.NAME for metric in chosen if metric.NAME in items)
    console.print(
        f"The data has nothing for {', '.join(missed)}: only {left} {'is' if len(items) == 1 else 'are'} measured, "
        "which look at no data.",
        markup=False,
    )


def _dialogues(
    data: Path | None,
    limit: int,
    sides: Sequence[str | None],
    console: Any,
    data_options: "ReadOptions",
    *,
    skip_bad: bool,
) -> "list[Conversation]":
    """The first dialogues that every side can read. Raises where one cannot, unless such are to be left out."""
    if data is None:
        return []
    from turnwise.app.model_names import BUNDLED_MODEL, load_renderer
    from turnwise.core.errors import InvalidData
    from turnwise.core.messages import Conversation
    from turnwise.data.sources import DataSource, held_out_split
    from turnwise.evaluation.template_check import template_error

    renderers = {side or BUNDLED_MODEL: load_renderer(side) for side in sides if not _baseline(side)}
    held_out = held_out_split(data)
    if held_out is not None:
        console.print(f"{data} has sides: its {held_out} side is measured.", markup=False)
    source = DataSource(data, skip_bad=skip_bad, side=held_out, options=data_options)
    found: list[Conversation] = []
    refused: list[str] = []
    for place, item in source.rows():
        if not isinstance(item, Conversation):
            continue
        if (told := template_error(item, renderers)) is None:
            found.append(item)
        elif skip_bad:
            refused.append(f"{place}: {told}")
        else:
            raise InvalidData(f"{place}: {told} Use --skip-bad-rows to leave such dialogues out.")
        if len(found) == limit:
            break
    if source.bad_count:
        console.print(f"{source.bad_count:,} bad rows left out")
    if refused:
        console.print(f"Dialogues left out: {len(refused):,}. The first: {refused[0]}", markup=False)
    return found


def _judge(url: str | None, model: str | None, against: str | None, cache: Any) -> "LlmJudge | None":
    from turnwise.core.errors import UserError

    if url is None and model is None:
        return None
    if url is None or model is None or against is None:
        raise UserError("A judge takes --judge URL, --judge-model NAME and --against, which it compares with.")
    from turnwise.evaluation.llm_judge import LlmJudge

    return LlmJudge(url.rstrip("/"), model, cache)


def _system_opener(
    said: str | None,
    other: str | None,
    cache: Any,
    sampling: dict[str, Any],
    data_options: "ReadOptions",
    quantize: Quantization | None,
    threads: int | None,
) -> "OpenSystem":
    """What opens a model, or a baseline: `kind:FILE`, which reads with the tokenizer of the other side."""
    from functools import partial

    from turnwise.app.model_names import resolve_model_folder
    from turnwise.app.systems_under_test import open_model_under_test

    if (baseline := _baseline(said)) is not None:
        from turnwise.evaluation.baselines import open_baseline

        read_with = resolve_model_folder(None if _baseline(other) else other)
        return partial(open_baseline, *baseline, read_with, sampling["max_tokens"], data_options)
    return partial(open_model_under_test, said, cache, sampling=sampling, quantize=quantize, threads=threads)


def _baseline(said: str | None) -> "tuple[BaselineName, Path] | None":
    """Its kind and the file it learns from, where a baseline was asked for."""
    kind, _, file = (said or "").partition(":")
    if file and kind == "retrieval":
        return "retrieval", Path(file)
    return ("ngram", Path(file)) if file and kind == "ngram" else None
