"""Parses one document in this process: recognizes its format and checks every block."""

from collections.abc import Iterator
from pathlib import Path

from turnwise.core.errors import InvalidData, UserError
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsers import DOCUMENT_PARSERS, detect_format
from turnwise.retrieval.parsing import limits
from turnwise.retrieval.parsing.clean_text import clean_text
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource, open_source

MAX_TITLE_CHARACTERS = 500


def parse_document(path: Path, notes: DocumentNotes, name: str | None = None) -> Iterator[Block]:
    """Yield the blocks of a document. Run it in a `ParserProcess`: a hostile document can crash a parser.

    Args:
        path: the file.
        notes: receives the title and the warnings. They are complete after the last block.
        name: file name of the document, if `path` has another.

    Raises:
        UserError: the document cannot be read. The message begins with "It" or "Its".
        OSError: the file cannot be read.
    """
    try:
        source = open_source(path, name)
    except ModuleNotFoundError as error:  # the encoding of the text is guessed with a library
        raise _missing_library(error) from error
    format_name = detect_format(source, notes)
    if source.encoding is not None and source.encoding.warning:
        notes.warn(source.encoding.warning)
    num_characters = 0
    for block in _parse(source, notes, format_name):
        text = clean_text(block.text)
        if len(text) < len(block.text.strip()):
            notes.warn("Invisible or invalid characters were left out.")
        if not text:
            continue
        if len(text) > limits.MAX_BLOCK_CHARACTERS:
            raise InvalidData(
                f"It has a paragraph of {len(text):,} characters; at most {limits.MAX_BLOCK_CHARACTERS:,} are read."
            )
        num_characters += len(text)
        if num_characters > limits.MAX_TEXT_CHARACTERS:
            raise InvalidData(f"It has more than {limits.MAX_TEXT_CHARACTERS:,} characters of text. Divide it.")
        if not notes.title and block.kind == "heading" and block.level == 1:
            notes.title = text
        yield Block(block.kind, text, block.level, block.page)
    notes.title = clean_text(notes.title)[:MAX_TITLE_CHARACTERS]
    if num_characters == 0:
        raise InvalidData("It has no text.")


def _parse(source: DocumentSource, notes: DocumentNotes, format_name: str) -> Iterator[Block]:
    """Yield the blocks of a parser. What it raises for a document that is damaged depends on its library."""
    try:
        yield from DOCUMENT_PARSERS.load(format_name).parse(source, notes)
    except (UserError, MemoryError, GeneratorExit):
        raise
    except ModuleNotFoundError as error:
        raise _missing_library(error) from error
    except RecursionError as error:
        raise InvalidData("It is nested too deeply.") from error
    except Exception as error:
        # The message may quote the document, which must not appear in logs.
        kind = type(error).__name__
        raise InvalidData(f"It is damaged, or not what it seems: its {format_name} parser failed ({kind}).") from error


def _missing_library(error: ModuleNotFoundError) -> UserError:
    library = (error.name or "a library").partition(".")[0].replace("_", "-")
    return UserError(f"It needs {library} to be read: pip install 'turnwise[knowledge]'.")
