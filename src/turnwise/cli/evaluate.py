"""`turnwise evaluate`: how good a model is, and whether it is better than another one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.comparing import ANSWER, answers_kept, show, watched
from turnwise.cli.options import sampling_flags
from turnwise.core.ports import Quantize

if TYPE_CHECKING:
    from turnwise.core.messages import Conversation
    from turnwise.evaluation.baselines import Kind
    from turnwise.evaluation.judge import Judge
    from turnwise.evaluation.metric import Metric
    from turnwise.evaluation.run import Opens

TEMPERATURES = (0.0, 0.3, 0.7, 1.0, 1.3)


@sampling_flags
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model folder; left out: the one in the box. Or a baseline: retrieval:TRAIN.jsonl, ngram:TRAIN.jsonl"
        ),
    ] = None,
    data: Annotated[Path, typer.Option(help="Held-out dialogues.")] = Path("test.jsonl"),
    against: Annotated[
        str | None, typer.Option(help="What to compare with, likewise; 'box' is the one in the box.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for report.html, report.md and scorecard.json.")] = None,
    limit: Annotated[int, typer.Option(help="Most dialogues to look at.", min=1)] = 500,
    seeds: Annotated[int, typer.Option(help="How many answers are drawn to each history.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Of distractors, typos and probes.")] = 0,
    metrics: Annotated[
        str | None, typer.Option(help="Some metrics only, with commas between them: selection,chrf,…")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(help="Golden cases of your own: a YAML file or a folder, for those that come along."),
    ] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Also answer at several temperatures.")] = False,
    quantize: Annotated[
        Quantize | None, typer.Option(help="Round MODEL's weights to so many bits, as serve does.")
    ] = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with 1 where the verdict is worse or mixed.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Keep answers, to go on after Ctrl-C and to compare again at once.")
    ] = True,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave malformed rows out.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON.")] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --against: ask a model at this OpenAI-compatible address whose answers are better. "
            "A key is taken from TURNWISE_JUDGE_KEY.",
        ),
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Which model there.")] = None,
    *,
    asked: dict[str, Any],
) -> None:
    """Measure a model on held-out dialogues; with --against, say whether it is better, by how much and how surely.

    Answers are drawn as the model is served; flags of sampling change that for both. Ctrl-C loses nothing.

    **Examples**

    ```
    turnwise evaluate --data test.jsonl
    turnwise evaluate runs/mine --data test.jsonl --against box --out report
    turnwise evaluate runs/mine --data test.jsonl --against retrieval:train.jsonl
    turnwise evaluate runs/mine --quantize int8 --against runs/mine --data test.jsonl
    turnwise evaluate runs/mine --data test.jsonl --metrics selection,golden --json
    turnwise evaluate runs/mine --data test.jsonl --against box --judge http://localhost:9000/v1 --judge-model big
    ```
    """
    import json
    import sys

    from rich.console import Console

    from turnwise.evaluation.metrics import metrics as find_metrics
    from turnwise.evaluation.report import write_report
    from turnwise.evaluation.run import evaluate as run

    chosen = find_metrics([name.strip() for name in metrics.split(",")] if metrics else None)
    if golden is not None:
        chosen = _with_golden(chosen, golden)
    console = Console(stderr=True, highlight=False)
    dialogues = _dialogues(data, limit, console, skip_bad=skip_bad)
    asked = {"max_tokens": ANSWER, **asked}
    with answers_kept(cache) as kept, watched(console) as watch:
        found = run(
            _opens(model, against, kept, asked, quantize),
            None if against is None else _opens(against, model, kept, asked, None),
            dialogues,
            chosen,
            seeds=range(seeds),
            seed=seed,
            temperatures=TEMPERATURES if curve else (),
            watch=watch,
            about={"command": " ".join(["turnwise", *sys.argv[1:]]), "file": str(data)},
            judge=_judge(judge, judge_model, against, kept),
        )
    if out is not None:
        write_report(out, found.card, found.model, found.base, curve=found.curve)
        console.print(f"The report is {out / 'report.html'}.", markup=False)
    if json_out:
        typer.echo(json.dumps(found.card.as_dict(), indent=2, ensure_ascii=False))
    else:
        show(found.card, Console())
    if fail_if_worse and found.card.verdict in ("worse", "mixed"):
        raise typer.Exit(1)


def _with_golden(chosen: "list[Metric]", cases: Path) -> "list[Metric]":
    """The metrics with golden cases of one's own."""
    from turnwise.evaluation.golden import golden_cases
    from turnwise.evaluation.metrics.golden import Metric as Golden

    own = Golden(golden_cases(cases))
    own.NAME = "golden"  # type: ignore[misc]  # as the registry names it
    return [own, *(each for each in chosen if each.NAME != "golden")]


def _dialogues(data: Path, limit: int, console: Any, *, skip_bad: bool) -> "list[Conversation]":
    from itertools import islice

    from turnwise.core.messages import Conversation
    from turnwise.data.sources import Source

    source = Source(data, skip_bad=skip_bad)
    found = list(islice((item for item in source if isinstance(item, Conversation)), limit))
    if source.bad_count:
        console.print(f"{source.bad_count:,} bad rows left out")
    return found


def _judge(url: str | None, model: str | None, against: str | None, cache: Any) -> "Judge | None":
    from turnwise.core.errors import UserError

    if url is None and model is None:
        return None
    if url is None or model is None or against is None:
        raise UserError("A judge takes --judge URL, --judge-model NAME and --against, which it compares with.")
    from turnwise.evaluation.judge import Judge

    return Judge(url.rstrip("/"), model, cache)


def _opens(
    said: str | None, other: str | None, cache: Any, asked: dict[str, Any], quantize: Quantize | None
) -> "Opens":
    """What opens a model, or a baseline: `kind:FILE`, which reads with the tokenizer of the other side."""
    from functools import partial

    from turnwise.assemble import model_folder, subject

    if (baseline := _baseline(said)) is not None:
        from turnwise.evaluation.baselines import open_baseline

        return partial(open_baseline, *baseline, model_folder(None if _baseline(other) else other))
    return partial(subject, said, cache, asked=asked, quantize=quantize)


def _baseline(said: str | None) -> "tuple[Kind, Path] | None":
    """Its kind and the file it learns from, where a baseline was asked for."""
    kind, _, file = (said or "").partition(":")
    if file and kind == "retrieval":
        return "retrieval", Path(file)
    return ("ngram", Path(file)) if file and kind == "ngram" else None
