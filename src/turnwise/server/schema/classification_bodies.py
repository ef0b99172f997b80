"""Bodies of `POST /v1/classify` and `POST /v1/tag`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel

from turnwise.core.classification import TaggedText, TextLabels
from turnwise.core.classification_service import ClassificationRequest, TaggingRequest
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.server.schema.common_fields import LoggedUser, ServedModelName
from turnwise.server.schema.json_object import invalid_field
from turnwise.server.schema.request_field import Parameter, Reader, RequestBody

MAX_INPUTS = 2048  # as for embeddings
MAX_SCORES = 1_000_000  # of all texts of a response, which then has about 60 MB

_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_INPUT_SCHEMA = {
    "description": f"A text, or a list of up to {MAX_INPUTS} texts.",
    "anyOf": [_TEXT_SCHEMA, {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _TEXT_SCHEMA}],
}
TOP_K_SPEC = ParameterSpec(
    "top_k", int, None,
    "Number of scores of each text, the highest first. Default: one for every label.",
    minimum=1, nullable=True,
)  # fmt: skip
LABEL_THRESHOLD_SPEC = ParameterSpec(
    "threshold", float, None,
    "Probability from which a label is predicted. Default: the classifier's own; of a multi-label classifier 0.5.",
    minimum=0, maximum=1, nullable=True,
)  # fmt: skip
SPAN_THRESHOLD_SPEC = ParameterSpec(
    "threshold", float, None,
    "Probability that a span needs. Default: all spans are returned.",
    minimum=0, maximum=1, nullable=True,
)  # fmt: skip


def _read_texts(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise invalid_field("input", "must be a string or a list of strings, and not empty")
    if len(texts) > MAX_INPUTS:
        raise invalid_field("input", f"takes at most {MAX_INPUTS} entries, got {len(texts)}")
    return tuple(texts)


Texts = Annotated[tuple[str, ...], Reader(_read_texts, _INPUT_SCHEMA)]


class ClassifyRequest(RequestBody):
    """Texts to classify."""

    input: Texts
    model: ServedModelName
    top_k: Annotated[int | None, Parameter(TOP_K_SPEC)] = None
    threshold: Annotated[float | None, Parameter(LABEL_THRESHOLD_SPEC)] = None
    user: LoggedUser = None

    def to_service_request(self) -> ClassificationRequest:
        """Convert to a request of the classification service."""
        return ClassificationRequest(self.input, self.top_k, self.threshold)


class TagRequest(RequestBody):
    """Texts whose words are to be tagged."""

    input: Texts
    model: ServedModelName
    threshold: Annotated[float | None, Parameter(SPAN_THRESHOLD_SPEC)] = None
    user: LoggedUser = None

    def to_service_request(self) -> TaggingRequest:
        """Convert to a request of the classification service."""
        return TaggingRequest(self.input, self.threshold)


class ScoreBody(BaseModel):
    """A label and its probability."""

    label: str
    probability: float


class TextLabelsBody(BaseModel):
    """The labels of one input.

    `labels` are the predicted ones: one, or any number of a multi-label classifier; none if no label reaches the
    threshold of the request, or the text is below the classifier's own (`turnwise calibrate`). `scores` has the most
    probable label first. `is_truncated`: the text was longer than the model's context, and its end was not read.
    """

    object: Literal["classification"] = "classification"
    index: int
    labels: list[str]
    scores: list[ScoreBody]
    is_truncated: bool

    @classmethod
    def of(cls, index: int, result: TextLabels) -> "TextLabelsBody":
        """Convert a result."""
        values = {
            "index": index, "labels": result.labels, "scores": result.scores, "is_truncated": result.is_truncated,
        }  # fmt: skip
        return cls.model_validate(values, from_attributes=True)


class SpanBody(BaseModel):
    """A labelled span: characters (Unicode code points) `start` up to `end` of the input."""

    start: int
    end: int
    text: str
    label: str
    probability: float


class TaggedTextBody(BaseModel):
    """The spans of one input, in order."""

    object: Literal["tagging"] = "tagging"
    index: int
    spans: list[SpanBody]

    @classmethod
    def of(cls, index: int, result: TaggedText) -> "TaggedTextBody":
        """Convert a result."""
        return cls.model_validate({"index": index, "spans": result.spans}, from_attributes=True)


class ClassificationUsage(BaseModel):
    """Tokens that the model read, with start and end tokens and the context of sentences."""

    prompt_tokens: int
    total_tokens: int


class ClassifyResponse(BaseModel):
    """The labels of all inputs, in their order."""

    object: Literal["list"] = "list"
    data: list[TextLabelsBody]
    model: str
    usage: ClassificationUsage


class TagResponse(BaseModel):
    """The spans of all inputs, in their order."""

    object: Literal["list"] = "list"
    data: list[TaggedTextBody]
    model: str
    usage: ClassificationUsage
