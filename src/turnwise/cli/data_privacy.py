"""`turnwise data privacy`: report on personal data in dialogues, and mask it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnwise.cli.console_output import (
    Overwrite,
    check_output_path,
    json_line,
    one_line,
    report_skipped_rows,
    with_progress,
)  # fmt: skip
from turnwise.cli.data_flags import SkipBadRows, data_source_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.data.rows import Record
    from turnwise.data.sources import DataSource
    from turnwise.privacy.privacy_report import PrivacyReport

# Nothing else is imported at module level, so that `--help` is fast.


@data_source_flags
def privacy(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Data file or folder.")],
    mask: Annotated[
        Path | None,
        typer.Option(help="Output file: the same rows with placeholders such as [NAME_1], as OpenAI messages."),
    ] = None,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show some of the detected values. They are personal data.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    skip_bad_rows: SkipBadRows = False,
    overwrite: Overwrite = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Report on personal data in dialogues, and mask it: names, addresses, phone numbers, cards, secrets and more.

    English and Chinese. A value is masked everywhere in its dialogue, with the same placeholder. The values are not
    written anywhere. Needs `pip install 'turnwise[privacy]'`.

    **Examples**

    ```
    turnwise data privacy chats.jsonl
    turnwise data privacy chats.jsonl --show-values
    turnwise data privacy chats.csv --mask masked.jsonl
    ```
    """
    from turnwise.data.jsonl_writer import write_jsonl
    from turnwise.data.sources import DataSource
    from turnwise.privacy.privacy_report import PrivacyReport

    source = DataSource(file, skip_bad_rows=skip_bad_rows, options=data_options)
    report = PrivacyReport(shows_values=show_values)
    total = sum(1 for _ in source)
    rows = with_progress(_mask_rows(source, report), "Masking" if mask else "Detecting", total)
    if mask is None:
        for _ in rows:
            pass
    else:
        source.check_not_source(mask)
        check_output_path(mask, overwrite=overwrite)
        write_jsonl(mask, rows)
    if as_json:
        typer.echo(json_line(report.as_dict()))
    else:
        _print_report(report)
    if mask is not None:
        typer.echo(f"{mask}: {report.num_rows:,} rows", err=as_json)
    report_skipped_rows(source.bad_row_count)


def register(app: typer.Typer) -> None:
    """Add the command to `turnwise data`."""
    app.command("privacy")(privacy)


def _mask_rows(source: "DataSource", report: "PrivacyReport") -> "Iterator[Record]":
    """Yield the masked rows, and count what was masked."""
    from turnwise.core.messages import Conversation
    from turnwise.data.rows import Document
    from turnwise.privacy.masking import ConversationMasker

    masker = ConversationMasker()
    for row in source:
        is_dialogue = isinstance(row, Conversation)
        masked = masker.mask(row) if isinstance(row, Conversation) else masker.mask_text(row.text, row.meta)
        report.add(masked.values)
        conversation = masked.conversation
        yield conversation if is_dialogue else Document(conversation.messages[0].content, conversation.meta)


def _print_report(report: "PrivacyReport") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("kind", "rows", "values")
    for kind, counts in report.as_dict()["kinds"].items():
        table.add_row(kind.replace("_", " "), f"{counts['rows']:,}", f"{counts['values']:,}")
    share = report.num_rows_with_personal_data / max(1, report.num_rows)
    console = Console()
    console.print(
        f"{report.num_rows_with_personal_data:,} of {report.num_rows:,} rows ({share:.1%}) have personal data."
    )
    if report.values_by_kind:
        console.print(table)
    for kind, values in report.examples.items():
        console.print(escape(f"{kind.replace('_', ' ')}: {'; '.join(one_line(value, 60) for value in values)}"))
