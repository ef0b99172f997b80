"""`turnwise data`: check, split, expand and convert data; the other commands are in modules beside it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli import data_privacy, data_score, data_simulate
from turnwise.cli.console_output import Overwrite, check_output_path, make_progress, report_skipped_rows, with_progress
from turnwise.cli.data_flags import SkipBadRows, data_source_flags
from turnwise.core.plurals import pluralize

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.data.sources import DataSource

# Nothing else is imported at module level, so that `--help` is fast.

PROGRESS_INTERVAL = 256  # rows between updates of the progress bar

app = typer.Typer(
    help="Check, split, convert, generate, score, filter and mask dialogues. The format is detected: OpenAI messages, "
    "ShareGPT, Alpaca, question and answer pairs, preferences, tool calls, chat exports, plain text; as JSONL, JSON, "
    "CSV, TSV or Parquet, also compressed (.gz, .bz2, .xz, .zst, .zip).",
    no_args_is_help=True,
)


@app.command()
@data_source_flags
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Data files or folders.")],
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
    """Report on data: sizes, bad rows, duplicates, test-set leaks and unusual dialogues.

    Exits with code 1 if no row can be used for training.

    **Examples**

    ```
    turnwise data check chats.jsonl
    turnwise data check train.csv --against test.csv
    turnwise data check chats.jsonl --json --tokenizer runs/my-model
    turnwise data check fragen.csv --columns user=Frage,assistant=Antwort --encoding windows-1252
    ```
    """
    from turnwise.data.check import check_data
    from turnwise.data.check_report import print_report

    count_tokens = _token_counter(tokenizer) if tokenizer else None
    with _file_progress("Checking", enabled=not as_json) as progress:
        report = check_data(
            files, against=against or (), options=data_options, count_tokens=count_tokens, progress=progress
        )  # fmt: skip
    if as_json:
        import json

        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
    else:
        print_report(report)
    if not report.usable:
        raise typer.Exit(1)


@app.command()
@data_source_flags
def split(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Data file or folder.")],
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl, valid.jsonl, test.jsonl and split.json.")],
    valid: Annotated[float, typer.Option(help="Fraction of the conversations for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Fraction of the conversations for testing.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    group_by: Annotated[
        str | None, typer.Option(help="Keep conversations with the same value of this key in the same file.")
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Split data into training, validation and test files.

    Duplicates go to the same file. Rows that are added later do not change the file of earlier rows.

    **Examples**

    ```
    turnwise data split chats.jsonl --out data/
    turnwise data split chats.csv --out data/ --test 0.1 --seed 7 --group-by customer --skip-bad-rows
    ```
    """
    from turnwise.data.split import write_split

    with _file_progress("Splitting") as progress:
        summary = write_split(
            file, out, valid=valid, test=test, seed=seed, group_by=group_by, options=data_options,
            skip_bad_rows=skip_bad_rows, progress=progress,
        )  # fmt: skip
    typer.echo(f"{out}: {summary.train:,} train, {summary.valid:,} valid, {summary.test:,} test")
    report_skipped_rows(summary.bad_rows)
    _report_nulls(summary.nulls)
    splits = (
        ("train", 1 - valid - test, summary.train), ("valid", valid, summary.valid), ("test", test, summary.test)
    )  # fmt: skip
    for split_name, fraction, count in splits:
        if fraction and not count:
            typer.echo(
                f"The {split_name} file is empty, because the data is small. Try a larger fraction or another seed.",
                err=True,
            )


@app.command()
def expand(
    grammar: Annotated[Path, typer.Argument(metavar="GRAMMAR", help="Template grammar in YAML.")],
    count: Annotated[int, typer.Option(help="Number of dialogues, all different.", min=1)],
    out: Annotated[Path, typer.Option(help="Output file, one dialogue per line as OpenAI messages.")],
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same dialogues.")] = 0,
    noise: Annotated[
        float, typer.Option(help="Fraction of user messages with typos, lower case and similar noise.")
    ] = 0.3,
    overwrite: Overwrite = False,
) -> None:
    """Generate dialogues from a template grammar.

    **Example**

    ```
    turnwise data expand examples/bike_shop.yaml --count 5000 --seed 1 --out bike.jsonl
    ```
    """
    from turnwise.data.grammar.expand import expand as expand_grammar
    from turnwise.data.grammar.grammar_file import load_grammar
    from turnwise.data.jsonl_writer import write_jsonl

    check_output_path(out, overwrite=overwrite)
    dialogues = expand_grammar(load_grammar(grammar), count, seed, noise=noise)
    num_dialogues = write_jsonl(out, with_progress(dialogues, "Expanding", count))
    typer.echo(f"{out}: {num_dialogues:,} dialogues")
    if num_dialogues < count:
        typer.echo(f"The grammar yields only {num_dialogues:,} different dialogues.", err=True)


@app.command()
@data_source_flags
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Data file or folder.")],
    out: Annotated[Path, typer.Option(help="Output file, one dialogue per line as OpenAI messages.")],
    skip_bad_rows: SkipBadRows = False,
    overwrite: Overwrite = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Convert data to OpenAI messages in JSON Lines, one conversation per line.

    **Examples**

    ```
    turnwise data convert chats.csv --out chats.jsonl
    turnwise data convert sharegpt.json.gz --out chats.jsonl --skip-bad-rows
    ```
    """
    from turnwise.data.jsonl_writer import write_jsonl
    from turnwise.data.sources import DataSource

    source = DataSource(file, skip_bad_rows=skip_bad_rows, options=data_options)
    source.check_not_source(out)
    check_output_path(out, overwrite=overwrite)
    with _file_progress("Converting") as progress:
        num_rows = write_jsonl(out, _with_file_progress(source, progress), nulls := Counter[str]())
    typer.echo(f"{out}: {num_rows:,} rows")
    report_skipped_rows(source.bad_row_count)
    _report_nulls(nulls)
    if source.unread_columns:
        names = ", ".join(name for name, _ in source.unread_columns.most_common(10))
        typer.echo(
            f"Columns that are not part of the dialogues: {names}. They are stored under 'meta'; if one belongs to the "
            "dialogues, set its meaning with --columns.",
            err=True,
        )


def _report_nulls(nulls: Mapping[str, int]) -> None:
    if nulls:
        columns = ", ".join(f"{name} ({pluralize(count, 'row')})" for name, count in nulls.items())
        typer.echo(f"NaN and Infinity are not valid JSON and were replaced by null: {columns}.", err=True)


def _token_counter(folder: Path) -> Callable[[str], int]:
    from turnwise.models.model_kind import full_model_folder
    from turnwise.text.tokenization.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder, full_model_folder(folder))
    return lambda text: len(tokenizer.encode(text))


def _with_file_progress(source: "DataSource", progress: "Callable[[DataSource], None]") -> Iterator[Any]:
    for index, item in enumerate(source):
        if index % PROGRESS_INTERVAL == 0:
            progress(source)
        yield item


@contextmanager
def _file_progress(label: str, *, enabled: bool = True) -> "Iterator[Callable[[DataSource], None]]":
    """Yield a callback that shows the position in each file as a progress bar, only on a terminal."""
    with make_progress(enabled) as progress_bars:
        tasks: dict[Path, Any] = {}

        def progress(source: "DataSource") -> None:
            if source.path not in tasks:
                tasks[source.path] = progress_bars.add_task(f"{label} {source.path.name}", total=source.size)
            progress_bars.update(tasks[source.path], completed=source.position)

        yield progress


data_simulate.register(app)
data_score.register(app)
data_privacy.register(app)
