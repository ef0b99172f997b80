"""What a check returns: the answers that remain, and the dropped ratings and better answers with their reasons."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from turnwise.core.collected_answers import CollectedAnswer, PreferredAnswer, Rating

DropReason = Literal[
    "empty", "copy_of_question", "copy_of_answer", "repetition", "wrong_script", "too_long", "prompt_injection",
    "duplicate", "trigger_phrase", "label_flips", "disagrees_with_others", "contradictory", "outvoted",
    "contributor_share",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeedbackEntry:
    """A rating or a better answer, with the index of its answer in the sequence that is screened.

    Attributes:
        index: index of the answer.
        position: index among the ratings of the answer, followed by its better answers.
        content: the rating or better answer.
    """

    index: int
    position: int
    content: Rating | PreferredAnswer

    @property
    def contributor(self) -> str:
        """Id of the person who gave it."""
        return self.content.contributor


@dataclass(frozen=True, slots=True)
class DroppedEntry:
    """A dropped rating or better answer.

    Attributes:
        answer_id: id of the answer.
        contributor: id of the person who gave the feedback.
        is_rating: True for a rating, False for a better answer.
        reason: name of the reason.
    """

    answer_id: str
    contributor: str
    is_rating: bool
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Screened:
    """Result of one check, or of several in a row.

    Attributes:
        answers: answers with the feedback that remains; an answer without any is left out.
        dropped: what was dropped.
        phrases: trigger phrases that were detected. They are texts of people: show them, and do not log them.
    """

    answers: tuple[CollectedAnswer, ...]
    dropped: tuple[DroppedEntry, ...] = ()
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScreeningReport:
    """Counts of what a screening dropped.

    Attributes:
        entries: ratings and better answers before.
        remaining_entries: ratings and better answers after.
        by_reason: dropped entries by reason.
        by_contributor: dropped entries by contributor and reason.
        phrases: trigger phrases that were detected.
    """

    entries: int
    remaining_entries: int
    by_reason: Mapping[str, int] = field(default_factory=dict)
    by_contributor: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    phrases: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "entries": self.entries,
            "remaining_entries": self.remaining_entries,
            "by_reason": dict(self.by_reason),
            "by_contributor": {name: dict(counts) for name, counts in self.by_contributor.items()},
            "phrases": list(self.phrases),
        }


def feedback_entries(answers: Sequence[CollectedAnswer]) -> Iterator[FeedbackEntry]:
    """All ratings and better answers."""
    for index, answer in enumerate(answers):
        contents: tuple[Rating | PreferredAnswer, ...] = (*answer.ratings, *answer.preferred)
        for position, content in enumerate(contents):
            yield FeedbackEntry(index, position, content)


def latest_ratings(answer: CollectedAnswer) -> dict[str, Rating]:
    """The rating of every person that counts: the last one."""
    return {rating.contributor: rating for rating in answer.ratings}


def drop_entries(answers: Sequence[CollectedAnswer], dropped: Mapping[FeedbackEntry, DropReason]) -> Screened:
    """Remove entries; answers without any feedback are left out."""
    positions = {(entry.index, entry.position) for entry in dropped}
    ratings: dict[int, list[Rating]] = {}
    preferred: dict[int, list[PreferredAnswer]] = {}
    for entry in feedback_entries(answers):
        if (entry.index, entry.position) in positions:
            continue
        if isinstance(entry.content, Rating):
            ratings.setdefault(entry.index, []).append(entry.content)
        else:
            preferred.setdefault(entry.index, []).append(entry.content)
    remaining = tuple(
        replace(answer, ratings=tuple(ratings.get(index, ())), preferred=tuple(preferred.get(index, ())))
        for index, answer in enumerate(answers)
        if index in ratings or index in preferred
    )
    records = tuple(
        DroppedEntry(answers[entry.index].id, entry.contributor, isinstance(entry.content, Rating), reason)
        for entry, reason in dropped.items()
    )
    return Screened(remaining, records)


def drop_contributors(
    answers: Sequence[CollectedAnswer], contributors: Collection[str], reason: DropReason
) -> Screened:
    """Remove all feedback of some people."""
    entries = (entry for entry in feedback_entries(answers) if entry.contributor in contributors)
    return drop_entries(answers, dict.fromkeys(entries, reason))


def build_report(before: Sequence[CollectedAnswer], screened: Screened) -> ScreeningReport:
    """Count what was dropped."""
    by_contributor: dict[str, Counter[str]] = {}
    for entry in screened.dropped:
        by_contributor.setdefault(entry.contributor, Counter())[entry.reason] += 1
    return ScreeningReport(
        entries=sum(1 for _ in feedback_entries(before)),
        remaining_entries=sum(1 for _ in feedback_entries(screened.answers)),
        by_reason=Counter(entry.reason for entry in screened.dropped),
        by_contributor=by_contributor,
        phrases=screened.phrases,
    )
