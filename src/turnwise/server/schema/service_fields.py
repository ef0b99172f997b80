"""The service path: the request fields `scenario` and `knowledge`, and the response field `service`, all extensions."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictStr

from turnwise.core.errors import InvalidParameter
from turnwise.core.service_report import ServiceReport
from turnwise.server.schema.request_field import EXTENSION, Reader, RequestBody, Target

MAX_NAMES = 20  # of knowledge bases in a request
MAX_NAME_CHARS = 64
_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS}
_KNOWLEDGE_SCHEMA: dict[str, Any] = {
    "description": f"A knowledge base, or a list of up to {MAX_NAMES}, to answer from (GET /v1/knowledge), besides the "
    "documents of the scenario. Without a scenario, the answer comes from their documents alone.",
    "anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA, "maxItems": MAX_NAMES}],
}


def read_knowledge(value: Any) -> tuple[str, ...] | None:
    """Return the names of knowledge bases; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidParameter("knowledge", "'knowledge' must be a name or a list of names.", code="invalid_type")
    if len(value) > MAX_NAMES or not all(1 <= len(name) <= MAX_NAME_CHARS for name in value):
        raise InvalidParameter(
            "knowledge", f"'knowledge' has at most {MAX_NAMES} names of 1 to {MAX_NAME_CHARS} characters."
        )
    return tuple(dict.fromkeys(value))


class ServiceFields(RequestBody):
    """Scenario and documents that answer."""

    scenario: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=MAX_NAME_CHARS, description="Scenario that answers (GET /v1/scenarios)."),
        EXTENSION,
        Target("service.scenario"),
    ] = None
    knowledge: Annotated[
        tuple[str, ...] | None, Reader(read_knowledge, _KNOWLEDGE_SCHEMA), EXTENSION, Target("service.knowledge")
    ] = None


class DecisionBody(BaseModel):
    """One step: what it decided, the score that it compared with the threshold, and its duration.

    `classifier` says what predicted the intent while the classifier is being fitted: "earlier" or "examples".
    """

    step: str
    outcome: str
    detail: str = ""
    score: float | None = None
    threshold: float | None = None
    milliseconds: float
    classifier: str | None = None


class CitationBody(BaseModel):
    """A cited passage; the answer has its number in brackets. `start` and `end` are characters of the document."""

    number: int
    source: str
    text: str
    document_hash: str
    start: int | None = None
    end: int | None = None
    page: int | None = None


class ServiceBody(BaseModel):
    """How the scenario or the documents answered; `scenario` is empty without one.

    The stored answer has the same object in its `meta.service`.
    """

    scenario: str
    language: str
    decision: str
    decisions: list[DecisionBody]
    citations: list[CitationBody]
    is_notice: bool

    @classmethod
    def of(cls, report: ServiceReport | None) -> "ServiceBody | None":
        """Convert the report of the chat service; None without one."""
        return None if report is None else cls.model_validate(report.as_dict())
