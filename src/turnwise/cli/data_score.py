"""`turnwise data score` and `filter`: dialogues judged by a model, and kept by how they were judged."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from turnwise.cli.console_output import Overwrite, check_output_path, report_skipped_rows, with_progress
from turnwise.cli.data_flags import data_source_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.synthesis.dialogue_filter import FilterCriteria

# Nothing else is imported up here: the help must answer at once.

_SkipBad = Annotated[bool, typer.Option("--skip-bad-rows", help="Skip bad rows instead of stopping at the first one.")]
_Only = Literal["generated", "written"]


@data_source_flags
def score(
    file: Annotated[Path, typer.Argument(help="Data file or folder; dialogues by models or by people.")],
    out: Annotated[Path, typer.Option(help="Output file: the same rows with their scores.")],
    model: Annotated[str, typer.Option(help="Model that scores: a folder, or 'box' (the bundled model).")] = "box",
    slots: Annotated[int, typer.Option(help="Maximum number of dialogues at the same time.", min=1)] = 16,
    skip_bad: _SkipBad = False,
    overwrite: Overwrite = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Score every dialogue: likelihood of its replies, their relevance to the question, and novelty (no repetition).

    **Examples**

    ```
    turnwise data score made.jsonl --out scored.jsonl
    turnwise data score talks.jsonl --model runs/mine --out scored.jsonl
    ```
    """
    from rich.console import Console

    from turnwise.app.chat_services import open_chat_service
    from turnwise.data.jsonl_writer import write_jsonl
    from turnwise.data.sources import DataSource
    from turnwise.synthesis.dialogue_scorer import DialogueScorer
    from turnwise.synthesis.ordered_tasks import iterate_sync
    from turnwise.synthesis.score_quantiles import ScoreQuantiles

    source = DataSource(file, skip_bad=skip_bad, options=data_options)
    source.check_not_source(out)
    check_output_path(out, overwrite=overwrite)
    total, spreads = sum(1 for _ in source), ScoreQuantiles()
    with open_chat_service(model, max_num_seqs=slots) as service:
        judged = iterate_sync(DialogueScorer(service).score_all(source, slots))
        made = write_jsonl(out, spreads.observe(with_progress(judged, "Scoring", total)))
    typer.echo(f"{out}: {made:,} rows")
    report_skipped_rows(source.bad_row_count)
    if spreads.num_unscored:
        typer.echo(f"{spreads.num_unscored:,} dialogues have no reply that the model can judge.", err=True)
    Console().print(spreads.table())


@data_source_flags
def filter_rows(
    file: Annotated[Path, typer.Argument(help="Dialogues with scores, as `turnwise data score` writes them.")],
    out: Annotated[Path, typer.Option(help="Output file.")],
    min_scores: Annotated[
        list[str] | None, typer.Option("--min", help="Minimum of a score: likelihood=-3.5. Repeatable.")
    ] = None,
    best: Annotated[float | None, typer.Option(help="Keep this share of the dialogues, the best --by a score.")] = None,
    by: Annotated[str | None, typer.Option(help="Score that --best ranks by.")] = None,
    only: Annotated[
        _Only | None, typer.Option(help="Keep only generated dialogues, or only those written by people.")
    ] = None,
    judge_written: Annotated[
        bool,
        typer.Option("--written-too", help="Filter dialogues written by people too; by default all of them are kept."),
    ] = False,
    skip_bad: _SkipBad = False,
    overwrite: Overwrite = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Keep generated dialogues with good scores, and count why the others were dropped.

    **Examples**

    ```
    turnwise data filter scored.jsonl --best 0.8 --by relevance --out kept.jsonl
    turnwise data filter scored.jsonl --min likelihood=-3.5 --min novelty=0.8 --only generated --out kept.jsonl
    ```
    """
    from turnwise.data.jsonl_writer import write_jsonl
    from turnwise.data.sources import DataSource
    from turnwise.synthesis.dialogue_filter import DialogueFilter

    source = DataSource(file, skip_bad=skip_bad, options=data_options)
    source.check_not_source(out)
    check_output_path(out, overwrite=overwrite)
    sifting = DialogueFilter(_wanted(min_scores or [], best, by, only, judge_written=judge_written), file)
    best_places = sifting.find_best(source)
    write_jsonl(out, sifting.filter_records(source, best_places))
    typer.echo(f"{out}: {sifting.kept:,} of {sifting.kept + sifting.dropped.total():,} rows kept")
    for reason, number in sifting.dropped.most_common():
        typer.echo(f"  {number:,} {reason}")
    report_skipped_rows(source.bad_row_count)


def register(app: typer.Typer) -> None:
    """Add the commands to `turnwise data`."""
    app.command("score")(score)
    app.command("filter")(filter_rows)


def _wanted(
    min_scores: list[str], best: float | None, by: str | None, only: _Only | None, *, judge_written: bool
) -> "FilterCriteria":
    from turnwise.core.errors import InvalidParameter
    from turnwise.synthesis.dialogue_filter import FilterCriteria

    if (best is None) != (by is None):
        raise InvalidParameter("best", "--best and --by go together, as in --best 0.5 --by relevance.")
    floors = {}
    for said in min_scores:
        name, _, value = said.partition("=")
        try:
            floors[name.strip()] = float(value)
        except ValueError:
            raise InvalidParameter("min", f"--min must be NAME=NUMBER, as in likelihood=-3.5, got '{said}'.") from None
    chosen = None if best is None or by is None else (by, best)
    if not floors and chosen is None and only is None:
        raise InvalidParameter("min", "Say what to keep: --min NAME=NUMBER, --best SHARE --by NAME, or --only.")
    return FilterCriteria(floors, chosen, only, judge_written)
