"""What `turnwise knowledge` prints, and its progress. Texts and names come from documents: they are made safe first."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

import typer

from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.cli.console_output import json_line, one_line
from turnwise.cli.progress_bars import progress_bar
from turnwise.core.errors import InvalidParameter, Unavailable, did_you_mean
from turnwise.core.plurals import pluralize
from turnwise.core.retrieval import RetrievedPassage, SearchMode
from turnwise.retrieval.fusion_tuning import MODES, NDCG_DEPTH, RECALL_DEPTH
from turnwise.retrieval.hybrid_index import MIN_COVERAGE, SearchOutcome
from turnwise.training.stop_signals import capture_stop_signals

if TYPE_CHECKING:  # imports scipy
    from turnwise.app.knowledge.questions import MeanWithInterval, TuningReport

PAGE_DOCUMENTS = 500
SNIPPET_CHARS = 300


def parse_metadata(values: Sequence[str] | None) -> dict[str, str]:
    """`KEY=VALUE` flags as a mapping. Raises `InvalidParameter` for another form."""
    properties: dict[str, str] = {}
    for value in values or ():
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise InvalidParameter("metadata", f"'{value[:100]}' should be KEY=VALUE.")
        properties[key] = text
    return properties


def parse_mode(value: str) -> SearchMode:
    """A search mode. Raises `InvalidParameter` for another word."""
    for mode in get_args(SearchMode):
        if mode == value:
            return mode  # type: ignore[no-any-return]
    raise InvalidParameter("mode", f"'{value[:100]}' is no mode; {did_you_mean(value, get_args(SearchMode))}")


@contextmanager
def index_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error."""
    from rich.console import Console

    with progress_bar(Console(stderr=True), label) as on_progress:
        yield on_progress


def update_words(knowledge: KnowledgeBase) -> None:
    """Bring the lexical index up to date, with a progress bar. If another process is at it, say so and go on."""
    try:
        with index_progress("Words") as on_progress:
            knowledge.update_lexical(on_progress)
    except Unavailable as error:
        typer.echo(f"Note: the latest changes cannot be found yet. {error}", err=True)


def embed_missing(knowledge: KnowledgeBase) -> None:
    """Embed passages without a vector until Ctrl-C, with a progress bar."""
    if knowledge.encoder is None:
        hint = knowledge.notice or "`turnwise models pull e5-small` gets an embedding model."
        typer.echo(f"Search is by words only. {hint}", err=True)
        return
    with capture_stop_signals() as signum, index_progress("Vectors") as on_progress:
        knowledge.embed(on_progress, is_stopped=lambda: bool(signum()))
    status = knowledge.status()
    missing = status.num_passages - status.num_vectors
    if missing > 0:
        typer.echo(f"{pluralize(missing, 'passage')} without a vector: `turnwise knowledge embed` continues.", err=True)


def print_documents(knowledge: KnowledgeBase, scope: str, *, as_json: bool) -> None:
    """Print the documents of a scope."""
    after = 0
    if not as_json:
        typer.echo(f"{'PASSAGES':>8}  {'SHA-256':8}  SOURCE")
    while documents := knowledge.store.documents(scope, PAGE_DOCUMENTS, after):
        for document in documents:
            if as_json:
                typer.echo(json_line(asdict(document)))
                continue
            properties = "".join(f"  {one_line(f'{key}={value}')}" for key, value in document.metadata.items())
            source = one_line(document.source)
            typer.echo(f"{document.num_passages:>8,}  {document.sha256[:8]}  {source}{properties}")
            for warning in document.warnings:
                typer.echo(f"{'':20}{one_line(warning)}")
        after = documents[-1].id


def print_status(knowledge: KnowledgeBase) -> None:
    """Print the size of a knowledge base and the state of its indexes."""
    status = knowledge.status()
    vectors = "no embedding model"
    if knowledge.encoder is not None and status.num_passages:
        vectors = f"{status.num_vectors / status.num_passages:.0%} with a vector"
    words = "" if status.is_searchable else ", index of words not up to date"
    documents, passages = pluralize(status.num_documents, "document"), pluralize(status.num_passages, "passage")
    typer.echo(f"{documents}, {passages}, {vectors}{words}.", err=True)


def print_results(outcome: SearchOutcome, *, requested: SearchMode, notice: str | None, as_json: bool) -> None:
    """Print the passages of a search, best first."""
    for number, item in enumerate(outcome.passages, 1):
        typer.echo(_result_json(item) if as_json else _result_text(number, item))
    if not outcome.passages:
        typer.echo("No passage matches.", err=True)
    if requested == "hybrid" and outcome.mode == "lexical" and outcome.coverage < MIN_COVERAGE:
        reason = notice or f"{outcome.coverage:.0%} of the passages have a vector."
        typer.echo(f"Searched by words only: {reason}", err=True)


def print_tuning(report: "TuningReport") -> None:
    """Print the quality of each mode with its interval, and the weight."""
    typer.echo(f"{'SEARCH':8}  {f'RECALL@{RECALL_DEPTH}':>22}  {f'NDCG@{NDCG_DEPTH}':>22}")
    for mode in MODES:
        typer.echo(f"{mode:8}  {_format_mean(report.recall[mode]):>22}  {_format_mean(report.ndcg[mode]):>22}")
    typer.echo(
        f"Weight of the meaning: {report.result.weight:g}, tuned on {pluralize(report.num_questions, 'question')}."
    )
    if report.num_unanswerable:
        typer.echo(f"{pluralize(report.num_unanswerable, 'question')} left out: no passage answers.", err=True)


def _format_mean(value: "MeanWithInterval") -> str:
    interval = "" if value.interval is None else f" [{value.interval.low:.3f}, {value.interval.high:.3f}]"
    return f"{value.mean:.3f}{interval}"


def _result_text(number: int, item: RetrievedPassage) -> str:
    location = item.passage.location
    where = one_line(item.passage.source)
    if location is not None:
        where += f", page {location.page}" if location.page is not None else ""
        where += "".join(f" > {one_line(heading, 60)}" for heading in location.headings)
        where += f" [{location.start:,}-{location.end:,}]"
    return f"{number}. {item.score:.3f}  {where}\n   {one_line(item.passage.text, SNIPPET_CHARS)}"


def _result_json(item: RetrievedPassage) -> str:
    passage = item.passage
    location = None if passage.location is None else asdict(passage.location)
    return json_line({
        "score": round(item.score, 6), "source": passage.source, "text": passage.text,
        "metadata": dict(passage.metadata), "location": location,
    })  # fmt: skip
