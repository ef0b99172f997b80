"""The option `--knowledge` of `turnwise serve`."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from turnwise.app.knowledge.served_base import ServedKnowledgeBase


def open_knowledge(
    folders: Mapping[str, str], stack: ExitStack, threads: int | None = None
) -> "dict[str, ServedKnowledgeBase]":
    """Open knowledge bases, start the threads that keep their indexes up to date, and print how far they are.

    Args:
        folders: name or folder of each, by the name in requests.
        stack: stops the threads and closes the knowledge bases.
        threads: number of threads of the encoders.

    Raises:
        InvalidParameter: an invalid name.
        NotFound: there is no such knowledge base.
    """
    from turnwise.app.knowledge.served_base import serve_knowledge_base
    from turnwise.core.plurals import pluralize

    bases = {}
    for name, folder in folders.items():
        bases[name] = base = stack.enter_context(serve_knowledge_base(name, folder, threads))
        status = base.status("")
        search = "words only" if status.encoder is None else f"words and by meaning ({status.encoder})"
        typer.echo(f"{name}: {pluralize(status.num_documents, 'shared document')}, searched by {search}.")
        if base.notice is not None:
            typer.echo(f"{name}: {base.notice}", err=True)
    return bases
