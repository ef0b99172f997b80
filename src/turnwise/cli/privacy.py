"""`turnwise privacy`: export and erase what is stored of a person, and delete old data."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnwise.cli.console_output import Overwrite
from turnwise.cli.shared_flags import Store

if TYPE_CHECKING:
    from turnwise.core.data_subjects import Eraser

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(help="Export and erase what is stored of a person, and delete old data.", no_args_is_help=True)

User = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The person, as clients name them in `user`. With --key: within this key."),
]
Key = Annotated[
    str | None, typer.Option(metavar="NAME", help="API key. Without --user: everybody who used it, and its documents.")
]
Local = Annotated[
    bool, typer.Option("--local", help="What was stored without an API key: by this machine's user or an open server.")
]


@app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="File to write; only its owner can read it.")],
    user: User = None,
    key: Key = None,
    local: Local = False,
    store: Store = None,
    overwrite: Overwrite = False,
) -> None:
    """Write everything that is stored of a person to a JSON file.

    **Examples**

    ```
    turnwise privacy export --user ann@example.org --out ann.json
    turnwise privacy export --key shop --user 1234 --out customer.json
    ```
    """
    from turnwise.app.personal_data import export_data, find_subject, write_export
    from turnwise.app.stores import open_required_store
    from turnwise.cli.console_output import check_output_path

    check_output_path(out, overwrite=overwrite)
    with open_required_store(store) as conversations:
        subject = find_subject(conversations, user, key, is_local=local)
        write_export(export_data(subject, conversations, _further_erasers()), out)
    typer.echo(f"Everything that is stored of {subject.id} is in {out}.")


@app.command()
def erase(
    user: User = None,
    key: Key = None,
    local: Local = False,
    store: Store = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Erase everything that is stored of a person, and what was made from it.

    Conversations, completions, responses, feedback and hand-offs; for a key, also its uploaded documents and their
    entries in the indexes. Versions of models that `turnwise improve` trained on their data are deleted, and the
    version before serves again, or the bundled or pulled model; the next cycle trains without them. The files are
    rewritten, so that no text is left in them. The cache of evaluations is emptied. Stop servers and `turnwise
    improve` before. If the command is interrupted, run it again.

    **Examples**

    ```
    turnwise privacy erase --user ann@example.org
    turnwise privacy erase --key shop --yes
    ```
    """
    from turnwise.app.personal_data import describe_counts, erase_data, find_subject
    from turnwise.app.stores import open_required_store
    from turnwise.core.errors import NotFound

    with open_required_store(store) as conversations:
        try:
            subject = find_subject(conversations, user, key, is_local=local)
        except NotFound:
            conversations.personal_data.remove_traces()  # an earlier run may have been interrupted before
            raise
        if not yes:
            typer.confirm(f"Erase everything that is stored of {subject.id}? It cannot be restored.", abort=True)
        counts = erase_data(subject, conversations, _further_erasers())
    typer.echo(f"Erased of {subject.id}: {describe_counts(counts)}.")


@app.command()
def retention(
    days: Annotated[float, typer.Option(min=0.01, help="Delete what has not changed for this number of days.")],
    store: Store = None,
) -> None:
    """Delete old conversations, completions and responses once, with their feedback and hand-offs.

    What cycles of `turnwise improve` have copied of the deleted answers is deleted, too. `turnwise serve
    --retention-days` does it at its start and then daily.

    **Example**

    ```
    turnwise privacy retention --days 90
    ```
    """
    from turnwise.app.personal_data import delete_old_data, describe_counts
    from turnwise.app.stores import open_required_store
    from turnwise.improve.retention import delete_old_examples

    with open_required_store(store) as conversations:
        counts = delete_old_data(conversations, days, more=[delete_old_examples])
    typer.echo(f"Deleted: {describe_counts(counts)}.")


def _further_erasers() -> "Mapping[str, Eraser]":
    """Erasers of packages above `app`."""
    from turnwise.improve import erasure

    return {"versions": erasure}
