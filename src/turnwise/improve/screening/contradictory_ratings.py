"""Resolves contradictory ratings of the same answer by majority, or drops them."""

from collections import defaultdict
from collections.abc import Sequence

from turnwise.core.collected_answers import CollectedAnswer, Rating
from turnwise.improve.screening.answer_groups import group_answers
from turnwise.improve.screening.screened import (
    DropReason,
    FeedbackEntry,
    Screened,
    drop_entries,
    feedback_entries,
)

MIN_AGREEMENT = 2 / 3


def resolve_contradictions(answers: Sequence[CollectedAnswer], min_agreement: float = MIN_AGREEMENT) -> Screened:
    """Drop ratings that contradict the others of the same or nearly the same answer.

    Every contributor has one vote, by the latest rating. If the majority has at least `min_agreement` of the votes,
    ratings against it are dropped ("outvoted"), else all of them ("contradictory"). Earlier ratings of a contributor
    that differ from the latest one are dropped as well ("contradictory").
    """
    groups = group_answers(answers)
    members: dict[int, list[FeedbackEntry]] = defaultdict(list)
    for entry in feedback_entries(answers):
        if isinstance(entry.content, Rating):
            members[groups[entry.index]].append(entry)
    dropped: dict[FeedbackEntry, DropReason] = {}
    for entries in members.values():
        # The latest entry of a contributor comes last and replaces the earlier ones.
        ordered = sorted(entries, key=lambda entry: entry.content.created)
        votes = {entry.contributor: _value(entry) for entry in ordered}
        positive = sum(value > 0 for value in votes.values())
        agreement = max(positive, len(votes) - positive) / len(votes)
        majority = 1 if 2 * positive > len(votes) else -1
        for entry in entries:
            if _value(entry) != votes[entry.contributor] or agreement < min_agreement:
                dropped[entry] = "contradictory"
            elif _value(entry) != majority and agreement < 1:
                dropped[entry] = "outvoted"
    return drop_entries(answers, dropped)


def _value(entry: FeedbackEntry) -> int:
    assert isinstance(entry.content, Rating), "only ratings are compared"
    return 1 if entry.content.value > 0 else -1
