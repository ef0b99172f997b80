"""Fields of the lexical index, and its entries.

Every term carries the number of its scope. A query for one scope cannot match a passage of another one, document
frequencies are those of the scope, and no filter slows the search down.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from turnwise.core.errors import UserError
from turnwise.core.knowledge import StoredPassage
from turnwise.retrieval.index_cursor import IndexCursor
from turnwise.retrieval.terms import TERMS_VERSION, split_terms

if TYPE_CHECKING:
    import tantivy

SCHEMA_VERSION = 1
VERSION = 1000 * SCHEMA_VERSION + TERMS_VERSION
TERMS, PROPERTIES, DOCUMENT, PASSAGE, CURSOR = "terms", "properties", "document", "passage", "cursor"
TOKENIZER = "whitespace"
CURSOR_KEY = "cursor"


def import_tantivy() -> Any:
    """The package `tantivy`. Raises `UserError` if it is not installed."""
    try:
        import tantivy
    except ImportError as error:
        raise UserError("The knowledge index needs tantivy: pip install 'turnwise[knowledge]'.") from error
    return tantivy


@cache
def schema() -> "tantivy.Schema":
    """The fields. Texts are not stored: the store has them."""
    builder = import_tantivy().SchemaBuilder()
    builder.add_text_field(TERMS, tokenizer_name=TOKENIZER, index_option="freq")
    builder.add_text_field(PROPERTIES, tokenizer_name="raw", index_option="basic")
    # A text, because tantivy-py deletes nothing by a term of a number.
    builder.add_text_field(DOCUMENT, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field(PASSAGE, fast=True)
    builder.add_text_field(CURSOR, stored=True, tokenizer_name="raw", index_option="basic")
    built: tantivy.Schema = builder.build()
    return built


def scoped_term(scope_id: int, term: str) -> str:
    """A term of a scope."""
    return f"{scope_id:x}:{term}"


def property_term(scope_id: int, key: str, value: str) -> str:
    """A property of a scope's document, as a digest of constant length."""
    fields = f"{scope_id}\0{len(key)}\0{key}{value}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(fields, digest_size=16).hexdigest()


def passage_entry(passage: StoredPassage) -> "tantivy.Document":
    """The entry of a passage."""
    scope_id = passage.document.scope_id
    entry: tantivy.Document = import_tantivy().Document()
    prefix = f"{scope_id:x}:"
    entry.add_text(TERMS, " ".join([prefix + term for term in split_terms(passage.index_text)]))
    for key, value in passage.document.metadata.items():
        entry.add_text(PROPERTIES, property_term(scope_id, key, value))
    entry.add_text(DOCUMENT, str(passage.document.id))
    entry.add_unsigned(PASSAGE, passage.id)
    return entry


def cursor_entry(cursor: IndexCursor) -> "tantivy.Document":
    """The only entry that is no passage: a commit saves the position of the index with the entries that it is of."""
    entry: tantivy.Document = import_tantivy().Document()
    entry.add_text(CURSOR, CURSOR_KEY)
    entry.add_text(CURSOR, cursor.to_json())
    return entry


def filter_terms(scope_id: int, filters: Mapping[str, str]) -> list[str]:
    """The terms that passages with these properties have."""
    return [property_term(scope_id, key, value) for key, value in filters.items()]
