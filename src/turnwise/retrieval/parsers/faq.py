"""FAQ: pairs of questions and answers in JSON, JSONL, CSV, TSV, YAML, Markdown or plain text."""

from collections.abc import Iterator

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.delimited_rows import detect_delimiter, sample_rows
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.question_lines import has_question_lines, question_line_blocks
from turnwise.retrieval.parsing.question_records import (
    has_question_key,
    is_question_header,
    json_records,
    record_blocks,
    table_records,
    yaml_records,
)

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
_YAML_SUFFIXES = (".yaml", ".yml")
_TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
_TEXT_SUFFIXES = (".md", ".markdown", ".txt", ".text", "")


def detect(source: DocumentSource) -> float:
    """High for records with a question and an answer, or lines that begin with "Q:" and "A:"."""
    return 0.95 if _kind(source) else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
    """Yield a question block and an answer block for every pair. Other columns are named in a warning."""
    match _kind(source):
        case "lines":
            yield from question_line_blocks(source.read_text(), notes)
        case "yaml":
            yield from record_blocks(yaml_records(source.read_text()), notes)
        case "table":
            yield from record_blocks(table_records(source), notes)
        case _:
            yield from record_blocks(json_records(source), notes)


def _kind(source: DocumentSource) -> str:
    """How the pairs are written: "json", "table", "yaml" or "lines"; empty if the document has none."""
    text = source.text_head.lstrip("\ufeff \n")
    if not text:
        return ""
    if text.startswith(("{", "[")):
        return "json" if has_question_key(text) else ""
    if source.suffix in _YAML_SUFFIXES:
        return "yaml" if has_question_key(text) else ""
    if source.suffix in _TEXT_SUFFIXES and has_question_lines(text):
        return "lines"
    if source.suffix in (*_TABLE_SUFFIXES, *_TEXT_SUFFIXES):
        rows = sample_rows(source.text_head, detect_delimiter(source.text_head))
        return "table" if rows and is_question_header(rows[0]) else ""
    return ""
