"""Feedback on answers: ratings, corrections, comments and tags, and the port of their store."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from turnwise.core.collected_answers import Consent, contributor_id
from turnwise.core.errors import InvalidParameter

AnswerKind = Literal["message", "completion"]
FeedbackRole = Literal["user", "reviewer"]

# Reasons of a rating. Other tags are text of the person, which needs the consent "full".
FEEDBACK_TAGS = (
    "wrong", "incomplete", "off_topic", "too_long", "too_short", "unclear", "impolite", "unsafe", "wrong_language",
    "wrong_format",
)  # fmt: skip
MAX_TAGS, MAX_TAG_CHARS = 10, 40
MAX_FEEDBACK_CHARS = 100_000  # of a correction or a comment
_TAG = re.compile(r"\w[\w-]*")


@dataclass(frozen=True, slots=True)
class AnswerReference:
    """Which answer feedback is about.

    Attributes:
        kind: a message of a stored conversation, or a choice of a stored completion.
        id: id of the message or the completion.
        index: index of the choice; 0 for a message.
    """

    kind: AnswerKind
    id: str
    index: int = 0

    def __str__(self) -> str:
        return f"message:{self.id}" if self.kind == "message" else f"completion:{self.id}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> "AnswerReference":
        """The reference that `str` gave, "message:ID" or "completion:ID:INDEX". Raises `InvalidParameter`."""
        kind, _, rest = text.partition(":")
        if kind == "message" and rest:
            return cls("message", rest)
        id, _, index = rest.rpartition(":")
        if kind == "completion" and id and index.isdecimal() and len(index) < 10:
            return cls("completion", id, int(index))
        raise InvalidParameter("answer", f"'{text[:100]}' is not an answer. Write message:ID, or completion:ID:INDEX.")


@dataclass(frozen=True, slots=True)
class AnswerOrigin:
    """Where an answer comes from, for figures of versions.

    Attributes:
        answer: the answer.
        version: version of the model that answered, such as "turnwise-assistant@3"; empty if it was not recorded.
        conversation: what identifies its conversation (`core.conversation_keys`).
        is_routed: False if the request named the version.
    """

    answer: AnswerReference
    version: str
    conversation: str
    is_routed: bool = True


@dataclass(frozen=True, slots=True)
class NewFeedback:
    """Feedback to add. At least a rating, a correction, a comment or a tag is needed.

    Attributes:
        rating: 1: good, -1: bad, None: not rated.
        correction: what the answer should have been.
        comment: free text.
        tags: reasons (`normalize_tags`).
        user: the person within the API key, as the client names them.
        role: "reviewer" for a verdict of the review queue.
        created: Unix time in seconds; None: now.
    """

    rating: int | None = None
    correction: str | None = None
    comment: str | None = None
    tags: tuple[str, ...] = ()
    user: str | None = None
    role: FeedbackRole = "user"
    created: float | None = None

    @property
    def has_text(self) -> bool:
        """True if it has text that the person wrote."""
        return bool(self.correction or self.comment or set(self.tags).difference(FEEDBACK_TAGS))

    def check(self) -> None:
        """Raise `InvalidParameter` if it is empty or out of bounds."""
        if self.rating is None and not (self.correction or self.comment or self.tags):
            raise InvalidParameter("rating", "Feedback needs a 'rating', a 'correction', a 'comment' or 'tags'.")
        if self.rating not in (None, 1, -1):
            raise InvalidParameter("rating", f"A rating is 1 or -1, got {self.rating}.")
        for name, text in (("correction", self.correction), ("comment", self.comment)):
            if text is not None and not text.strip():
                raise InvalidParameter(name, f"'{name}' has no text.")
            if text is not None and len(text) > MAX_FEEDBACK_CHARS:
                raise InvalidParameter(name, f"'{name}' may have at most {MAX_FEEDBACK_CHARS:,} characters.")


@dataclass(frozen=True, slots=True)
class Feedback:
    """Stored feedback.

    Attributes:
        id: id of the feedback.
        answer: the answer that it is about.
        created: Unix time in seconds.
        owner: name of the API key that gave it; None: no key was needed.
        content: rating, correction, comment and tags.
        consent: the stricter of the consents of the answer and of the request that gave the feedback.
        version: version of the model that answered, such as "turnwise-assistant@3"; empty if it was not recorded.
        weights_sha256: digest of the weights that answered; empty if it was not recorded.
    """

    id: str
    answer: AnswerReference
    created: float
    owner: str | None
    content: NewFeedback
    consent: Consent
    version: str = ""
    weights_sha256: str = ""

    @property
    def contributor(self) -> str:
        """Id of the person who gave it."""
        return contributor_id(self.owner, self.content.user)


@dataclass(frozen=True, slots=True)
class RatingCounts:
    """Numbers of answers by their last rating. A later rating of a person replaces the earlier one."""

    good: int = 0
    bad: int = 0


class FeedbackStore(Protocol):
    """Stores feedback. Part of a `ConversationStore`, with its principal.

    Feedback can be given on own answers. A reviewer (`Principal.answers_handoffs`) also gives it on the answers of
    others that have the consent "full". A method that writes returns after the change is synced to disk.
    """

    def add(self, answer: AnswerReference, content: NewFeedback, *, consent: Consent = "full") -> Feedback:
        """Add feedback. Earlier feedback of the same person stays in the history.

        Args:
            answer: the answer.
            content: what the person says.
            consent: what the request allows. The consent of the answer may be stricter.

        Raises:
            NotFound: there is no such answer.
            InvalidParameter: the feedback is empty, or the message is not an answer.
            Forbidden: the consent is "off", or it is "metadata" and the feedback has text.
        """

    def origin(self, answer: AnswerReference) -> AnswerOrigin:
        """Where an answer comes from. Raises as `of_answer` does."""

    def of_answer(self, answer: AnswerReference) -> Sequence[Feedback]:
        """All feedback on an answer, oldest first. Raises `NotFound`."""

    def of_completion(self, id: str) -> Sequence[Feedback]:
        """All feedback on the choices of a completion, oldest first. Raises `NotFound`."""

    def of_conversation(self, id: str) -> Sequence[Feedback]:
        """All feedback on the messages of a conversation, oldest first. Raises `NotFound`."""

    def list(self, *, limit: int = 100, after: str | None = None) -> tuple[Sequence[Feedback], bool]:
        """A page of own feedback, oldest first, and whether there is more. `after` is an id; raises `NotFound`."""

    def delete(self, id: str) -> None:
        """Delete own feedback. Raises `NotFound`."""

    def count_ratings(self, model: str, *, since: float = 0.0) -> Mapping[str, RatingCounts]:
        """Answers of a model, of all owners, by version and the last rating of each person, if given after `since`."""


def normalize_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags in lower case with underscores, each once.

    Raises:
        InvalidParameter: a tag has other characters than letters, digits, "_" and "-", or there are too many.
    """
    normalized = tuple(dict.fromkeys("_".join(tag.lower().split()) for tag in tags))
    if len(normalized) > MAX_TAGS:
        raise InvalidParameter("tags", f"Feedback may have at most {MAX_TAGS} tags, got {len(normalized)}.")
    for tag in normalized:
        if not _TAG.fullmatch(tag) or len(tag) > MAX_TAG_CHARS:
            raise InvalidParameter(
                "tags",
                f"'{tag[:MAX_TAG_CHARS]}' is not a tag: use 1 to {MAX_TAG_CHARS} letters, digits, '_' and '-'. "
                f"Common ones: {', '.join(FEEDBACK_TAGS)}.",
            )
    return normalized
