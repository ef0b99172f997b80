"""`turnwise knowledge`: documents that answers may rely on."""

from pathlib import Path
from typing import Annotated

import typer

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(help="Add documents, and search in them by words and by meaning.", no_args_is_help=True)

Base = Annotated[str, typer.Option(help="Knowledge base: a name in TURNWISE_HOME, or a folder with a slash.")]
Scope = Annotated[str, typer.Option(help="Tenant. A search sees the documents of one tenant only.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Embedding model, or `none` for search by words only. Default: the one used before; at first e5-small, or "
        "minilm, if it is pulled.",
    ),
]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="Repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the embedding model. Default: one per core.")]


@app.command()
def add(
    documents: Annotated[list[Path], typer.Argument(metavar="DOCS...", help="Files, or folders with files.")],
    base: Base = "default",
    encoder: Encoder = None,
    scope: Scope = "",
    metadata: Metadata = None,
    source: Annotated[
        str | None, typer.Option(help="Name of the document in answers. Default: the path. For one file only.")
    ] = None,
    embed: Annotated[
        bool, typer.Option(help="Embed the new passages now; `turnwise knowledge embed` does later.")
    ] = True,
    threads: Threads = None,
) -> None:
    """Add documents. A file that has changed replaces its earlier version; an unchanged one is skipped.

    Passages can be found by their words at once, and by their meaning as soon as they are embedded. Ctrl-C ends the
    embedding; `turnwise knowledge embed` continues it.

    **Examples**

    ```
    turnwise knowledge add handbook.txt docs/
    turnwise knowledge add faq.jsonl --base shop --metadata language=en
    turnwise index handbook.txt
    ```
    """
    from turnwise.app.knowledge.documents import find_files
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.cli.console_output import one_line, with_progress
    from turnwise.cli.knowledge_output import embed_missing, parse_metadata, update_words
    from turnwise.core.errors import InvalidParameter, TurnwiseError, UserError
    from turnwise.core.plurals import pluralize

    properties = parse_metadata(metadata)
    files = [file for path in documents for file in find_files(path)]
    if source is not None and len(files) != 1:
        raise InvalidParameter("source", "--source names one file; leave it out for several.")
    changes: dict[str, int] = {}
    failed = 0
    with open_knowledge_base(base, encoder, create=True, threads=threads) as knowledge:
        for file in with_progress(files, "Documents", len(files)):
            try:
                added = knowledge.add_file(file, source=source, scope=scope, metadata=properties)
            except UserError as error:
                if len(files) == 1:
                    raise
                failed += 1
                typer.echo(f"Skipped: {one_line(str(error))}", err=True)
            else:
                changes[added.change] = changes.get(added.change, 0) + 1
        update_words(knowledge)
        counts = ", ".join(f"{number:,} {change}" for change, number in changes.items())
        typer.echo(f"{pluralize(len(files) - failed, 'document')}: {counts or 'none'}.")
        if embed:
            embed_missing(knowledge)
    if failed:
        raise TurnwiseError(f"{pluralize(failed, 'file')} could not be added.")


@app.command("list")
def list_documents(base: Base = "default", scope: Scope = "", as_json: AsJson = False) -> None:
    """List the documents of a tenant, and how far the indexes are.

    **Examples**

    ```
    turnwise knowledge list
    turnwise knowledge list --base shop --json
    ```
    """
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.cli.knowledge_output import print_documents, print_status

    with open_knowledge_base(base) as knowledge:
        print_documents(knowledge, scope, as_json=as_json)
        print_status(knowledge)


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUESTION", help="Question or words. No character is an operator.")],
    base: Base = "default",
    scope: Scope = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="Only documents with this property. Repeatable."),
    ] = None,
    k: Annotated[int, typer.Option("--top", "-k", min=1, max=1000, help="Maximum number of passages.")] = 5,
    mode: Annotated[str, typer.Option(help="hybrid, lexical (words) or dense (meaning).")] = "hybrid",
    as_json: AsJson = False,
) -> None:
    """Search for passages.

    **Examples**

    ```
    turnwise knowledge search "How do I return a lamp?"
    turnwise knowledge search 退货 --base shop --top 3
    ```
    """
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.cli.knowledge_output import parse_metadata, parse_mode, print_results, update_words

    filters, search_mode = parse_metadata(metadata), parse_mode(mode)
    with open_knowledge_base(base) as knowledge:
        update_words(knowledge)
        outcome = knowledge.index.search_scope(query, k, scope, filters, search_mode)
        print_results(outcome, requested=search_mode, notice=knowledge.notice, as_json=as_json)


@app.command()
def delete(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCES...", help="Documents as `list` names them.")],
    base: Base = "default",
    scope: Scope = "",
) -> None:
    """Delete documents. From then on, no search returns their passages.

    **Example**

    ```
    turnwise knowledge delete handbook.txt
    ```
    """
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.cli.console_output import one_line
    from turnwise.cli.knowledge_output import update_words
    from turnwise.core.errors import NotFound

    with open_knowledge_base(base) as knowledge:
        missing = []
        for source in sources:
            document = knowledge.store.find_document(source, scope)
            if document is None or not knowledge.store.delete(document.id, scope):
                missing.append(source)
            else:
                typer.echo(f"Deleted {one_line(source)}.")
        update_words(knowledge)
    if missing:
        raise NotFound(
            f"There is no document {', '.join(map(one_line, missing))}; `turnwise knowledge list` shows all."
        )


@app.command()
def embed(base: Base = "default", encoder: Encoder = None, threads: Threads = None) -> None:
    """Embed the passages that have no vector yet. Ctrl-C ends after a batch; the next call continues.

    **Examples**

    ```
    turnwise knowledge embed
    turnwise knowledge embed --encoder e5-small
    ```
    """
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.cli.knowledge_output import embed_missing, print_status
    from turnwise.core.errors import InvalidParameter

    with open_knowledge_base(base, encoder, threads=threads) as knowledge:
        if knowledge.encoder is None:
            raise InvalidParameter(
                "encoder", "Name an embedding model with --encoder; `turnwise models list` shows all."
            )
        embed_missing(knowledge)
        print_status(knowledge)


@app.command()
def tune(
    questions: Annotated[
        Path,
        typer.Argument(
            metavar="QUESTIONS.jsonl",
            help="JSON lines with `question`, `source` (the document) and `answer` (words of the passage; optional).",
        ),
    ],
    base: Base = "default",
    scope: Scope = "",
) -> None:
    """Tune how much meaning counts beside words, and print the quality of all three searches.

    The weight is stored with the knowledge base. 50 questions suffice.

    **Example**

    ```
    turnwise knowledge tune questions.jsonl
    ```
    """
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.app.knowledge.questions import read_questions, tune_base
    from turnwise.cli.knowledge_output import print_tuning, update_words

    with open_knowledge_base(base) as knowledge:
        update_words(knowledge)
        print_tuning(tune_base(knowledge, read_questions(questions), scope))


@app.command()
def rebuild(
    base: Base = "default",
    vectors: Annotated[bool, typer.Option("--vectors", help="Delete the vectors too, and embed all passages.")] = False,
    threads: Threads = None,
) -> None:
    """Build the indexes again from the stored documents.

    **Examples**

    ```
    turnwise knowledge rebuild
    turnwise knowledge rebuild --vectors
    ```
    """
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.cli.knowledge_output import embed_missing, index_progress, print_status

    with open_knowledge_base(base, threads=threads) as knowledge:
        with index_progress("Words") as on_progress:
            knowledge.rebuild(on_progress, vectors=vectors)
        if vectors:
            embed_missing(knowledge)
        print_status(knowledge)


@app.command()
def check(
    base: Base = "default",
    compact: Annotated[bool, typer.Option("--compact", help="Free the space of deleted documents.")] = False,
) -> None:
    """Check the store and the indexes. The exit code is 1 if something is damaged.

    **Examples**

    ```
    turnwise knowledge check
    turnwise knowledge check --compact
    ```
    """
    from turnwise.app.knowledge.open_base import open_knowledge_base
    from turnwise.cli.knowledge_output import print_status
    from turnwise.core.errors import TurnwiseError

    with open_knowledge_base(base) as knowledge:
        problems = knowledge.problems()
        if compact and not problems:
            knowledge.compact()
        print_status(knowledge)
    if problems:
        raise TurnwiseError(" ".join(problems))
    typer.echo("Everything is in order.")
