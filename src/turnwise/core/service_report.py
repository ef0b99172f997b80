"""How the service path answered a message: its decisions in order, and the passages that the answer cites."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from turnwise.core.handoffs import NOTICE_META

SERVICE_META = "service"  # key in the `meta` of a stored answer


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    """One step of the service path.

    Attributes:
        step: name of the step.
        outcome: what the step decided, one of a few words.
        detail: name in the scenario that the outcome is about, such as an intent; empty if there is none.
        score: what was compared with the threshold; None if nothing was.
        threshold: the threshold.
        milliseconds: duration of the step.
        classifier: what predicted the intent while its classifier is being fitted: "earlier", the classifier of the
            version before, or "examples", the comparison with example messages. None: the fitted classifier.
    """

    step: str
    outcome: str
    detail: str = ""
    score: float | None = None
    threshold: float | None = None
    milliseconds: float = 0.0
    classifier: str | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that supports the answer. The answer has its number in brackets, such as [1].

    Attributes:
        number: number of the citation in the answer, from 1.
        source: name of the document.
        text: the cited text, exactly as in the document.
        document_hash: SHA-256 of the document; empty if it is not indexed.
        start, end: span of the passage in the document's text, in characters.
        page: page of the document, if it has pages.
    """

    number: int
    source: str
    text: str
    document_hash: str = ""
    start: int | None = None
    end: int | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """Why a message got its answer.

    Attributes:
        scenario: name of the scenario; empty without one.
        language: language of the answer.
        decision: what answered: safety:NAME, refusal:TOPIC, template:INTENT, knowledge, no_answer, clarify, hand_off,
            generate, or person while a person speaks with the customer.
        decisions: the steps in order.
        citations: passages that the answer cites.
        is_notice: the answer is a sentence for the customer only. The model never sees it.
    """

    scenario: str
    language: str
    decision: str
    decisions: tuple[ServiceDecision, ...] = ()
    citations: tuple[Citation, ...] = ()
    is_notice: bool = False

    @property
    def answer_kind(self) -> str:
        """The decision without a name, for metrics."""
        return self.decision.partition(":")[0]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON, without values that are None: the same in streams, responses and stored messages."""
        fields: dict[str, Any] = _without_none(asdict(self))
        return fields

    def stored_meta(self) -> dict[str, Any]:
        """The report as metadata of the stored answer."""
        meta: dict[str, Any] = {SERVICE_META: self.as_dict()}
        if self.is_notice:
            meta[NOTICE_META] = self.answer_kind
        return meta


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    return [_without_none(entry) for entry in value] if isinstance(value, list | tuple) else value
