"""`turnwise data`: look over, split, make and convert data."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli import data_score as scoring
from turnwise.cli import data_simulate as making
from turnwise.cli.console_output import Overwrite, check_output_path, make_progress, report_skipped_rows, with_progress
from turnwise.cli.data_flags import data_source_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.data.sources import DataSource

# Nothing else is imported up here: the help must answer at once.

app = typer.Typer(
    help="Check, split, convert, generate, score and filter dialogues. Formats are recognised: OpenAI messages, "
    "ShareGPT, Alpaca, question and answer pairs, preferences, tool calls, chat exports, plain text; as JSONL, JSON, "
    "CSV, TSV or Parquet, also compressed (.gz, .bz2, .xz, .zst, .zip).",
    no_args_is_help=True,
)

_SkipBad = Annotated[bool, typer.Option("--skip-bad-rows", help="Skip bad rows instead of stopping at the first one.")]


@app.command(
    epilog="Examples: turnwise data check chats.jsonl   |   turnwise data check train.csv --against test.csv   |   "
    "turnwise data check chats.jsonl --json --tokenizer runs/my-model   |   "
    "turnwise data check fragen.csv --columns user=Frage,assistant=Antwort --encoding windows-1252"
)
@data_source_flags
def check(
    files: Annotated[list[Path], typer.Argument(help="Data files or folders.")],
    against: Annotated[
        list[Path] | None, typer.Option(help="Data that FILES must not contain, such as the test set. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Model folder with a tokenizer.json; counts tokens too.")
    ] = None,
    *,
    data_options: "ReadOptions",
) -> None:
    """Report what the data contains and what is wrong: sizes, bad rows, duplicates, test-set leaks, odd dialogues.

    Exits with code 1 if no row can be used for training.
    """
    from turnwise.data.check import check_data as look_over
    from turnwise.data.check_report import print_report

    count_tokens = _token_counter(tokenizer) if tokenizer else None
    with _reading("Checking", shown=not as_json) as progress:
        report = look_over(
            files, against=against or (), options=data_options, count_tokens=count_tokens, progress=progress
        )  # fmt: skip
    if as_json:
        import json

        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
    else:
        print_report(report)
    if not report.usable:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: turnwise data split chats.jsonl --out data/   |   "
    "turnwise data split chats.csv --out data/ --test 0.1 --seed 7 --group-by customer --skip-bad-rows"
)
@data_source_flags
def split(
    file: Annotated[Path, typer.Argument(help="Data file or folder.")],
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl, valid.jsonl, test.jsonl and split.json.")],
    valid: Annotated[float, typer.Option(help="Share of the conversations for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of the conversations for testing.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    group_by: Annotated[
        str | None, typer.Option(help="Keep conversations with the same value of this key in the same file.")
    ] = None,
    skip_bad: _SkipBad = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Split into training, validation and test files. Duplicates stay together; rows added later move no others."""
    from turnwise.data.split import write_split

    with _reading("Splitting") as progress:
        made = write_split(
            file, out, valid=valid, test=test, seed=seed, group_by=group_by, options=data_options, skip_bad=skip_bad,
            progress=progress,
        )  # fmt: skip
    typer.echo(f"{out}: {made.train:,} train, {made.valid:,} valid, {made.test:,} test")
    report_skipped_rows(made.bad_rows)
    _tell_nulls(made.nulls)
    shares = (("train", 1 - valid - test, made.train), ("valid", valid, made.valid), ("test", test, made.test))
    for side, share, count in shares:
        if share and not count:
            typer.echo(f"No row fell to {side}: the data is small. A larger share or another seed may help.", err=True)


@app.command(epilog="Example: turnwise data expand examples/bike_shop.yaml --count 5000 --seed 1 --out bike.jsonl")
def expand(
    grammar: Annotated[Path, typer.Argument(help="Template grammar in YAML.")],
    count: Annotated[int, typer.Option(help="Number of dialogues, all different.", min=1)],
    out: Annotated[Path, typer.Option(help="Output file, one dialogue per line as OpenAI messages.")],
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same dialogues.")] = 0,
    noise: Annotated[
        float, typer.Option(help="Share of user messages with typos, lower case and similar noise.")
    ] = 0.3,
    overwrite: Overwrite = False,
) -> None:
    """Generate dialogues from a template grammar."""
    from turnwise.data.grammar.expand import expand as expand_grammar
    from turnwise.data.grammar.grammar_file import load_grammar
    from turnwise.data.jsonl_writer import write_jsonl

    check_output_path(out, overwrite=overwrite)
    dialogues = expand_grammar(load_grammar(grammar), count, seed, noise=noise)
    made = write_jsonl(out, with_progress(dialogues, "Expanding", count))
    typer.echo(f"{out}: {made:,} dialogues")
    if made < count:
        typer.echo(f"The grammar has no more to say than these {made:,} different dialogues.", err=True)


@app.command(
    epilog="Examples: turnwise data convert chats.csv --out chats.jsonl   |   "
    "turnwise data convert sharegpt.json.gz --out chats.jsonl --skip-bad-rows"
)
@data_source_flags
def convert(
    file: Annotated[Path, typer.Argument(help="Data file or folder.")],
    out: Annotated[Path, typer.Option(help="Output file, one dialogue per line as OpenAI messages.")],
    skip_bad: _SkipBad = False,
    overwrite: Overwrite = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Convert any data to OpenAI messages, one conversation per line."""
    from turnwise.data.jsonl_writer import write_jsonl
    from turnwise.data.sources import DataSource

    source = DataSource(file, skip_bad=skip_bad, options=data_options)
    source.check_not_source(out)
    check_output_path(out, overwrite=overwrite)
    with _reading("Converting") as progress:
        made = write_jsonl(out, _watched(source, progress), nulls := Counter[str]())
    typer.echo(f"{out}: {made:,} rows")
    report_skipped_rows(source.bad_row_count)
    _tell_nulls(nulls)
    if source.unread_columns:
        names = ", ".join(name for name, _ in source.unread_columns.most_common(10))
        typer.echo(
            f"Not part of the dialogues: {names} (kept under 'meta'; --columns can say what they mean).", err=True
        )


def _tell_nulls(nulls: Mapping[str, int]) -> None:
    if nulls:
        listed = ", ".join(f"{name} ({count:,} rows)" for name, count in nulls.items())
        typer.echo(f"NaN and Infinity, which JSON does not have, are null now: {listed}.", err=True)


def _token_counter(folder: Path) -> Callable[[str], int]:
    from turnwise.text.tokenization.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    return lambda text: len(tokenizer.encode(text))


def _watched(source: "DataSource", progress: "Callable[[DataSource], None]") -> Iterator[Any]:
    for number, item in enumerate(source):
        if number % 256 == 0:
            progress(source)
        yield item


@contextmanager
def _reading(what: str, *, shown: bool = True) -> "Iterator[Callable[[DataSource], None]]":
    """A bar that shows how far into the files the reading is; it appears on a terminal only."""
    with make_progress(shown) as bar_shown:
        tasks: dict[Path, Any] = {}

        def progress(source: "DataSource") -> None:
            if source.path not in tasks:
                tasks[source.path] = bar_shown.add_task(f"{what} {source.path.name}", total=source.size)
            bar_shown.update(tasks[source.path], completed=source.position)

        yield progress


making.register(app)
scoring.register(app)
