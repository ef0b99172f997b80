"""`turnwise data score` and `turnwise data filter`: score dialogues with a model, and filter them by score."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from turnwise.cli.console_output import Overwrite, check_output_path, report_skipped_rows, with_progress
from turnwise.cli.data_flags import SkipBadRows, data_source_flags
from turnwise.core.plurals import pluralize

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions

# Nothing else is imported at module level, so that `--help` is fast.


@data_source_flags
def score(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Data file or folder with synthetic or human dialogues.")
    ],
    out: Annotated[Path, typer.Option(help="Output file: the same rows with their scores.")],
    model: Annotated[str, typer.Option(help="Scoring model: a folder, or 'tiny' (the small bundled model).")] = "tiny",
    concurrency: Annotated[
        int, typer.Option(help="Maximum number of dialogues that are scored at the same time.", min=1)
    ] = 16,
    skip_bad_rows: SkipBadRows = False,
    overwrite: Overwrite = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Score dialogues with a model: likelihood and relevance of the replies, and novelty (low repetition).

    Higher is better for every score. `turnwise data filter` filters by them.

    **Examples**

    ```
    turnwise data score simulated.jsonl --out scored.jsonl
    turnwise data score talks.jsonl --model runs/mine --out scored.jsonl
    ```
    """
    from rich.console import Console

    from turnwise.app.chat_services import open_chat_service
    from turnwise.core.ordered_results import iterate_sync
    from turnwise.data.jsonl_writer import write_jsonl
    from turnwise.data.sources import DataSource
    from turnwise.synthesis.dialogue_scorer import DialogueScorer
    from turnwise.synthesis.score_quantiles import ScoreQuantiles

    source = DataSource(file, skip_bad_rows=skip_bad_rows, options=data_options)
    source.check_not_source(out)
    check_output_path(out, overwrite=overwrite)
    total, quantiles = sum(1 for _ in source), ScoreQuantiles()
    with open_chat_service(model, max_num_seqs=concurrency) as service:
        scored = iterate_sync(DialogueScorer(service).score_all(source, concurrency))
        num_rows = write_jsonl(out, quantiles.observe(with_progress(scored, "Scoring", total)))
    typer.echo(f"{out}: {num_rows:,} rows")
    report_skipped_rows(source.bad_row_count)
    if quantiles.num_unscored:
        typer.echo(
            f"Without a reply that the model can score: {pluralize(quantiles.num_unscored, 'dialogue')}.", err=True
        )
    Console().print(quantiles.table())


@data_source_flags
def filter_rows(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Dialogues with scores, as `turnwise data score` writes them.")
    ],
    out: Annotated[Path, typer.Option(help="Output file.")],
    min_score: Annotated[
        list[str] | None,
        typer.Option(help="Minimum of a score, such as likelihood=-3.5. Repeatable.", metavar="NAME=NUMBER"),
    ] = None,
    top_fraction: Annotated[
        float | None,
        typer.Option(help="Fraction of the scored dialogues to keep, greater than 0 and at most 1; needs --sort-by."),
    ] = None,
    sort_by: Annotated[
        str | None, typer.Option(help="Score that --top-fraction ranks by; the highest are kept.", metavar="NAME")
    ] = None,
    only: Annotated[
        Literal["synthetic", "human"] | None,
        typer.Option(help="Keep only synthetic dialogues, or only those written by people."),
    ] = None,
    score_human: Annotated[
        bool,
        typer.Option("--score-human", help="Filter human dialogues by score too; by default all of them are kept."),
    ] = False,
    skip_bad_rows: SkipBadRows = False,
    overwrite: Overwrite = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Filter dialogues by score, and print the number of dropped rows by reason.

    Human dialogues are filtered by score only with --score-human.

    **Examples**

    ```
    turnwise data filter scored.jsonl --top-fraction 0.8 --sort-by relevance --out filtered.jsonl
    turnwise data filter scored.jsonl --min-score likelihood=-3.5 --only synthetic --out filtered.jsonl
    ```
    """
    from turnwise.data.jsonl_writer import write_jsonl
    from turnwise.data.sources import DataSource
    from turnwise.synthesis.dialogue_filter import DialogueFilter, FilterCriteria

    source = DataSource(file, skip_bad_rows=skip_bad_rows, options=data_options)
    source.check_not_source(out)
    check_output_path(out, overwrite=overwrite)
    criteria = FilterCriteria(_parse_min_scores(min_score or ()), top_fraction, sort_by, only, score_human)
    dialogue_filter = DialogueFilter(criteria, file)
    top = dialogue_filter.find_top(source)
    write_jsonl(out, dialogue_filter.filter_records(source, top))
    total = dialogue_filter.num_kept + dialogue_filter.num_dropped.total()
    typer.echo(f"{out}: {dialogue_filter.num_kept:,} of {total:,} rows kept")
    for reason, number in dialogue_filter.num_dropped.most_common():
        typer.echo(f"  {number:,} {reason}")
    report_skipped_rows(source.bad_row_count)


def register(app: typer.Typer) -> None:
    """Add the commands to `turnwise data`."""
    app.command("score")(score)
    app.command("filter")(filter_rows)


def _parse_min_scores(assignments: Sequence[str]) -> dict[str, float]:
    """Parse NAME=NUMBER. Raises `InvalidParameter`."""
    from turnwise.core.errors import InvalidParameter

    minimums = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        try:
            minimums[name.strip()] = float(value)
        except ValueError:
            raise InvalidParameter(
                "min_score", f"--min-score must be NAME=NUMBER, as in likelihood=-3.5, got '{assignment}'."
            ) from None
    return minimums
