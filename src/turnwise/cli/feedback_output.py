"""Output of `turnwise feedback`."""

from collections.abc import Sequence

import typer

from turnwise.cli.console_output import json_line, one_line
from turnwise.core.feedback import Feedback, FeedbackStore

PAGE_ENTRIES = 1000
SIGNS = {1: "+", -1: "-", None: " "}


def latest_feedback(store: FeedbackStore, limit: int) -> list[Feedback]:
    """The latest feedback, the newest first."""
    entries: list[Feedback] = []
    after, has_more = None, True
    while has_more:
        page, has_more = store.list(limit=PAGE_ENTRIES, after=after)
        entries = [*entries, *page][-limit:]
        after = page[-1].id if page else None
    return entries[::-1]


def print_feedback(entries: Sequence[Feedback], *, as_json: bool) -> None:
    """Print one line per entry: as JSON, or time, rating, answer, tags and the beginning of the texts."""
    import time

    for entry in entries:
        content = entry.content
        if as_json:
            rating = {1: "up", -1: "down", None: None}[content.rating]
            fields = {
                "id": entry.id, "answer": str(entry.answer), "rating": rating, "correction": content.correction,
                "comment": content.comment, "tags": content.tags, "user": content.user, "created": entry.created,
                "role": content.role, "version": entry.version, "consent": entry.consent,
            }  # fmt: skip
            typer.echo(json_line(fields))
            continue
        moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created))
        texts = " | ".join(filter(None, (content.correction, content.comment)))
        cells = (moment, SIGNS[content.rating], str(entry.answer), ",".join(content.tags), one_line(texts, 60))
        typer.echo("  ".join(cells).rstrip())
    if not entries and not as_json:
        typer.echo("There is no feedback yet. `turnwise feedback add last --rating up` adds some.", err=True)
