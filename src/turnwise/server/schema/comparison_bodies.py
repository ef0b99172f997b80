"""Comparisons of two answers: the body of a request, stored comparisons, and scores."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr, model_validator

from turnwise.core.comparisons import MAX_LABEL_CHARS, Comparison, Competitor, NewComparison, PairScore, Verdict
from turnwise.core.errors import InvalidParameter
from turnwise.core.feedback import AnswerReference
from turnwise.server.schema.common_fields import ConsentFields
from turnwise.server.schema.feedback_bodies import MAX_USER_CHARS
from turnwise.server.schema.request_field import RequestBody


class ComparedAnswer(RequestBody):
    """A choice of a stored completion, or a message of a stored conversation."""

    completion_id: Annotated[
        StrictStr | None, Field(min_length=1, max_length=100, description="Id of a stored completion.")
    ] = None
    index: Annotated[StrictInt, Field(ge=0, lt=2**31, description="Index of the choice of a completion.")] = 0
    message_id: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=100, description="Id of a message of the assistant in a stored conversation."),
    ] = None
    label: Annotated[
        StrictStr,
        Field(
            max_length=MAX_LABEL_CHARS,
            description="Name of the settings or the prompt, to tell answers of the same model apart in the scores.",
        ),
    ] = ""

    @model_validator(mode="after")
    def _check(self) -> "ComparedAnswer":
        if (self.completion_id is None) == (self.message_id is None):
            raise InvalidParameter("completion_id", "An answer is a 'completion_id' or a 'message_id', and not both.")
        if self.message_id is not None and self.index:
            raise InvalidParameter("index", "'index' is for completions; a message is one answer.")
        return self

    @property
    def reference(self) -> AnswerReference:
        """The answer."""
        if self.message_id is not None:
            return AnswerReference("message", self.message_id)
        assert self.completion_id is not None
        return AnswerReference("completion", self.completion_id, self.index)


class ComparisonCreate(ConsentFields):
    """Which of two answers is better."""

    left: Annotated[ComparedAnswer, Field(description="The answer on the left.")]
    right: Annotated[ComparedAnswer, Field(description="The answer on the right.")]
    verdict: Annotated[Verdict, Field(description="The better answer. 'equal' and 'both_bad' prefer none.")]
    user: Annotated[
        StrictStr | None, Field(max_length=MAX_USER_CHARS, description="Id of the person who compares.")
    ] = None

    @property
    def content(self) -> NewComparison:
        """The comparison for the store."""
        left, right = self.left, self.right
        return NewComparison(left.reference, right.reference, self.verdict, left.label, right.label, self.user)


class CompetitorBody(BaseModel):
    """What gave an answer; `version` and `label` are empty if there is none."""

    model: str
    version: str
    label: str

    @classmethod
    def of(cls, competitor: Competitor) -> "CompetitorBody":
        """Convert a competitor of the store."""
        return cls(model=competitor.model, version=competitor.version, label=competitor.label)


class ComparisonBody(BaseModel):
    """A stored comparison. `left_answer` and `right_answer` are "message:ID" or "completion:ID:INDEX"."""

    id: str
    object: Literal["chat.comparison"] = "chat.comparison"
    created: float
    left: CompetitorBody
    right: CompetitorBody
    left_answer: str
    right_answer: str
    verdict: Verdict
    user: str | None

    @classmethod
    def of(cls, comparison: Comparison) -> "ComparisonBody":
        """Convert a comparison of the store."""
        content = comparison.content
        return cls(
            id=comparison.id, created=comparison.created, left=CompetitorBody.of(comparison.left),
            right=CompetitorBody.of(comparison.right), left_answer=str(content.left), right_answer=str(content.right),
            verdict=content.verdict, user=content.user,
        )  # fmt: skip


class PairScoreBody(BaseModel):
    """How often `first` was preferred to `second`.

    `win_rate` is the share of the wins among wins and losses, null without any; `low` and `high` are the bounds of its
    95 % interval (Wilson).
    """

    first: CompetitorBody
    second: CompetitorBody
    wins: int
    losses: int
    equal: int
    both_bad: int
    win_rate: float | None
    low: float
    high: float

    @classmethod
    def of(cls, score: PairScore) -> "PairScoreBody":
        """Convert a score."""
        low, high = score.interval
        return cls(
            first=CompetitorBody.of(score.first), second=CompetitorBody.of(score.second), wins=score.wins,
            losses=score.losses, equal=score.equal, both_bad=score.both_bad, win_rate=score.win_rate, low=low,
            high=high,
        )  # fmt: skip


class PairScoreList(BaseModel):
    """Scores of all pairs."""

    object: Literal["list"] = "list"
    data: list[PairScoreBody]


class DeletedComparison(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["chat.comparison.deleted"] = "chat.comparison.deleted"
    deleted: Literal[True] = True
