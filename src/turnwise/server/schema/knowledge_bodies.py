"""Bodies of `/v1/knowledge`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictStr

from turnwise.core.knowledge_service import KnowledgeResult, KnowledgeStatus, ServedDocument
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.core.retrieval import SearchMode
from turnwise.server.schema.json_object import invalid_field
from turnwise.server.schema.metadata import METADATA_SCHEMA, read_metadata
from turnwise.server.schema.request_field import Parameter, Reader, RequestBody

MAX_QUERY_CHARS = 10_000
MAX_RESULTS_SPEC = ParameterSpec(
    "max_num_results", int, 10, "Maximum number of passages.", minimum=1, maximum=50
)  # fmt: skip
_MODES: dict[str, SearchMode] = {"hybrid": "hybrid", "lexical": "lexical", "dense": "dense"}
_MODE_SCHEMA = {"enum": list(_MODES), "description": "What ranks the passages: words, meaning, or both. Default: both."}
_FILTERS_SCHEMA = {**METADATA_SCHEMA, "description": "Metadata that the documents must have."}


def _read_mode(value: Any) -> SearchMode:
    if not isinstance(value, str) or value not in _MODES:
        raise invalid_field("mode", f"must be {', '.join(_MODES)}")
    return _MODES[value]


class KnowledgeSearchRequest(RequestBody):
    """A search for passages."""

    query: Annotated[
        StrictStr,
        Field(min_length=1, max_length=MAX_QUERY_CHARS, description="Question or words; no character is an operator."),
    ]
    max_num_results: Annotated[int | None, Parameter(MAX_RESULTS_SPEC)] = None
    filters: Annotated[dict[str, str] | None, Reader(read_metadata, _FILTERS_SCHEMA)] = None
    mode: Annotated[SearchMode, Reader(_read_mode, _MODE_SCHEMA)] = "hybrid"


class KnowledgeBaseBody(BaseModel):
    """A knowledge base, with the documents that this key sees.

    `vector_share` is the share of passages that can be found by their meaning; `encoder` is the embedding model.
    """

    id: str
    object: Literal["knowledge_base"] = "knowledge_base"
    documents: int
    passages: int
    vector_share: float
    encoder: str | None

    @classmethod
    def of(cls, name: str, status: KnowledgeStatus) -> "KnowledgeBaseBody":
        """Convert the status of a knowledge base."""
        return cls(
            id=name, documents=status.num_documents, passages=status.num_passages,
            vector_share=round(status.vector_share, 4), encoder=status.encoder,
        )  # fmt: skip


class KnowledgeBaseList(BaseModel):
    """The knowledge bases, by name."""

    object: Literal["list"] = "list"
    data: list[KnowledgeBaseBody]


class DocumentBody(BaseModel):
    """A document.

    `status` is `completed` when its passages can be found by their words. `shared`: every key sees it, and no key can
    delete it. `warnings` tell what was not read.
    """

    id: str
    object: Literal["knowledge_base.document"] = "knowledge_base.document"
    filename: str
    title: str
    sha256: str
    status: Literal["in_progress", "completed"]
    passages: int
    shared: bool
    created: float
    updated: float
    metadata: dict[str, str]
    warnings: list[str]

    @classmethod
    def of(cls, served: ServedDocument) -> "DocumentBody":
        """Convert a document of a knowledge base."""
        document = served.document
        return cls(
            id=str(document.id), filename=document.source, title=document.title, sha256=document.sha256,
            status="completed" if served.is_searchable else "in_progress", passages=document.num_passages,
            shared=served.is_shared, created=document.created, updated=document.updated,
            metadata=dict(document.metadata), warnings=list(document.warnings),
        )  # fmt: skip


class DeletedDocument(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["knowledge_base.document.deleted"] = "knowledge_base.document.deleted"
    deleted: Literal[True] = True


class PassageBody(BaseModel):
    """A passage that was found. `start` and `end` are characters of the document's text.

    Passages of the key's own documents and of shared ones take turns; scores are comparable within each of the two.
    """

    text: str
    score: float
    filename: str
    shared: bool
    headings: list[str]
    document_hash: str
    start: int | None = None
    end: int | None = None
    page: int | None = None
    metadata: dict[str, str]

    @classmethod
    def of(cls, result: KnowledgeResult) -> "PassageBody":
        """Convert a result of a search."""
        passage, location = result.retrieved.passage, result.retrieved.passage.location
        shared = {"text": passage.text, "score": result.retrieved.score, "filename": passage.source}
        position = {} if location is None else {
            "headings": list(location.headings), "document_hash": location.document_hash, "start": location.start,
            "end": location.end, "page": location.page,
        }  # fmt: skip
        defaults: dict[str, Any] = {"headings": [], "document_hash": ""}
        return cls(**{**defaults, **shared, **position}, shared=result.is_shared, metadata=dict(passage.metadata))


class KnowledgeSearchResponse(BaseModel):
    """The passages, best first."""

    object: Literal["list"] = "list"
    data: list[PassageBody]
