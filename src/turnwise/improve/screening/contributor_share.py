"""Bounds the share of one contributor, so that nobody alone decides what the model learns."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from turnwise.core.collected_answers import CollectedAnswer
from turnwise.improve.screening.screened import FeedbackEntry, Screened, drop_entries, feedback_entries

MAX_SHARE = 0.2
MIN_ENTRIES = 20  # entries that everybody may give


def bound_contributor_share(
    answers: Sequence[CollectedAnswer], max_share: float = MAX_SHARE, min_entries: int = MIN_ENTRIES
) -> Screened:
    """Drop entries of contributors who gave more than the bound.

    The bound is `max_share` of the entries that remain or `min_entries`, whichever is larger. With fewer than
    1 / `max_share` contributors, it is an equal share for everybody; a single contributor has no bound. Which entries
    remain depends on hashes of the answers' ids, so nobody can choose them, and ratings count like better answers.
    """
    by_contributor: dict[str, list[FeedbackEntry]] = defaultdict(list)
    for entry in feedback_entries(answers):
        by_contributor[entry.contributor].append(entry)
    if len(by_contributor) < 2:
        return drop_entries(answers, {})
    counts = [len(entries) for entries in by_contributor.values()]
    bound = _entry_bound(counts, max(max_share, 1 / len(counts)), min_entries)
    excess = [
        entry
        for entries in by_contributor.values()
        if len(entries) > bound
        for entry in sorted(entries, key=lambda entry: _digest(answers[entry.index].id, entry))[bound:]
    ]
    return drop_entries(answers, dict.fromkeys(excess, "contributor_share"))


def _entry_bound(counts: Sequence[int], share: float, min_entries: int) -> int:
    """The largest bound that is at most `share` of the entries that it leaves, and at least `min_entries`."""
    bound = max(counts)
    while True:
        remaining = sum(min(count, bound) for count in counts)
        smaller = max(min_entries, int(share * remaining + 1e-9))
        if smaller >= bound:
            return bound
        bound = smaller


def _digest(answer_id: str, entry: FeedbackEntry) -> bytes:
    text = f"{answer_id}\n{entry.contributor}\n{type(entry.content).__name__}\n{entry.content.created}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
