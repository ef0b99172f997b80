"""`turnwise feedback`: ratings, corrections and comments on stored answers."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from turnwise.cli.console_output import Overwrite
from turnwise.cli.shared_flags import Store

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(
    help="Add, list, export and import feedback on answers of stored conversations and completions.",
    no_args_is_help=True,
)


@app.command()
def add(
    answer: Annotated[
        str, typer.Argument(metavar="ANSWER", help="message:ID, completion:ID:INDEX, or `last` for the last answer.")
    ],
    rating: Annotated[Literal["up", "down"] | None, typer.Option(help="Thumbs up or down.")] = None,
    correction: Annotated[str | None, typer.Option(metavar="TEXT", help="What the answer should have been.")] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="A comment.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="Reason, such as wrong, incomplete, off_topic, too_long or unclear. Repeatable."),
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="The person who gives the feedback.")] = None,
    store: Store = None,
) -> None:
    """Give feedback on an answer. A later rating of the same person replaces the earlier one.

    **Examples**

    ```
    turnwise feedback add last --rating down --tag wrong
    turnwise feedback add last --correction "We open at nine."
    turnwise feedback add completion:chatcmpl-1a2b:0 --rating up --user ann
    ```
    """
    from turnwise.app.stores import open_required_store
    from turnwise.cli.conversation_history import find_last_answer
    from turnwise.core.feedback import AnswerReference, NewFeedback, normalize_tags

    value = None if rating is None else 1 if rating == "up" else -1
    content = NewFeedback(value, correction, comment, normalize_tags(tag or ()), user)
    content.check()
    with open_required_store(store) as conversations:
        is_last = answer == "last"
        reference = find_last_answer(conversations) if is_last else AnswerReference.parse(answer)
        feedback = conversations.feedback.add(reference, content)
    typer.echo(f"Stored as {feedback.id}, on {reference}.")


@app.command("list")
def list_feedback(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of entries.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    store: Store = None,
) -> None:
    """List the feedback that was given last, the latest first, and count it.

    **Examples**

    ```
    turnwise feedback list
    turnwise feedback list --limit 1000 --json
    ```
    """
    from turnwise.app.stores import open_required_store
    from turnwise.cli.feedback_output import latest_feedback, print_feedback

    with open_required_store(store) as conversations:
        print_feedback(latest_feedback(conversations.feedback, limit), as_json=as_json)
        if not as_json:
            typer.echo(f"Answers that can be learned from: {conversations.collected_answers.count():,}", err=True)


@app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="File to write; only its owner can read it.")],
    model: Annotated[str | None, typer.Option(help="Only answers of this model. Default: of all models.")] = None,
    days: Annotated[
        float | None, typer.Option(min=0, help="Only answers with feedback of the last so many days. Default: all.")
    ] = None,
    store: Store = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the answers with feedback, their conversations and better answers, as JSON lines.

    Only what was collected with the consent "full". Personal data in it is not masked.

    **Example**

    ```
    turnwise feedback export --out answers.jsonl --days 30
    ```
    """
    import time

    from turnwise.app.feedback_files import export_answers
    from turnwise.app.stores import open_required_store
    from turnwise.cli.console_output import check_output_path
    from turnwise.core.plurals import pluralize

    check_output_path(out, overwrite=overwrite)
    since = 0.0 if days is None else time.time() - 86_400 * days
    with open_required_store(store) as conversations:
        count = export_answers(conversations, out, model=model, since=since)
    typer.echo(f"{pluralize(count, 'answer')} in {out}.")


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help='Lines such as {"answer": "message:ID", "rating": "up"}.')
    ],
    store: Store = None,
) -> None:
    """Add feedback that was given elsewhere, such as in a spreadsheet or another program.

    A line has `answer` and one or more of `rating` (up or down), `correction`, `comment` and `tags`; `user` and
    `created` (Unix time) are optional. Lines with `created` are not added twice.

    **Example**

    ```
    turnwise feedback import ratings.jsonl
    ```
    """
    from turnwise.app.feedback_files import import_feedback
    from turnwise.app.stores import open_required_store

    with open_required_store(store) as conversations:
        count = import_feedback(conversations.feedback, file)
    typer.echo(f"Added: {count:,} (feedback that was stored already is left out).")
