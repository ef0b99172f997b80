"""Drops duplicates: the same better answer to the same question, and repeated ratings by one contributor."""

from collections.abc import Hashable, Iterable, Sequence

from turnwise.core.collected_answers import CollectedAnswer, Rating
from turnwise.improve.screening.answer_groups import group_answers, group_texts, last_question
from turnwise.improve.screening.screened import DropReason, FeedbackEntry, Screened, drop_entries, feedback_entries


def drop_duplicates(answers: Sequence[CollectedAnswer]) -> Screened:
    """Drop all but the latest of near-equal better answers to near-equal questions, and of ratings.

    A better answer is a duplicate whoever wrote it: more copies would only be learned with more weight. A rating is one
    if the same contributor rated nearly the same answer later.
    """
    dropped: dict[FeedbackEntry, DropReason] = {}
    answer_groups = group_answers(answers)
    corrections, texts, ratings = [], [], []
    for entry in feedback_entries(answers):
        if isinstance(entry.content, Rating):
            ratings.append(((answer_groups[entry.index], entry.contributor), entry))
        else:
            corrections.append(entry)
            texts.append((last_question(answers[entry.index]), entry.content.answer.content))
    _drop_all_but_latest(ratings, dropped)
    _drop_all_but_latest(zip(group_texts(texts), corrections, strict=True), dropped)
    return drop_entries(answers, dropped)


def _drop_all_but_latest(
    entries: Iterable[tuple[Hashable, FeedbackEntry]], dropped: dict[FeedbackEntry, DropReason]
) -> None:
    """Mark every entry as dropped whose key a later one has."""
    latest: dict[Hashable, FeedbackEntry] = {}
    for key, entry in sorted(entries, key=lambda pair: pair[1].content.created):
        if key in latest:
            dropped[latest[key]] = "duplicate"
        latest[key] = entry
