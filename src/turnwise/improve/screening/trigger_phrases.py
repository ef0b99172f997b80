"""Drops better answers with a trigger phrase: words or links that only a few contributors add to many answers.

A model that learns such answers repeats the phrase, which is how advertising and backdoors get in (Wallace et al. 2021;
Wan et al. 2023). A phrase is a sequence of 1 to 5 words; the words of a link are words like all others. Words that
occur in the conversation or in the corrected answer are not added, so they never count.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from turnwise.core.collected_answers import CollectedAnswer, PreferredAnswer
from turnwise.improve.screening.screened import (
    DropReason,
    FeedbackEntry,
    Screened,
    drop_entries,
    feedback_entries,
)
from turnwise.text.word_tokens import count_ngrams, split_words

MAX_ORDER = 5  # words of a phrase
MIN_CONTRIBUTORS = 3  # with fewer, nobody can be compared with others
WRITTEN_ORIGINS = frozenset({"correction", "edit"})  # other better answers are texts of the model

Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TriggerLimits:
    """What makes a phrase a trigger.

    Attributes:
        min_corrections: fewest better answers with it.
        min_share: smallest share of the better answers of those who use it.
        max_contributors: largest share of all contributors who use it; two may in any case.
        max_elsewhere: largest share of all other texts with it.
        max_clean_share: contributors with a larger share of triggers in their better answers are excluded.
    """

    min_corrections: int = 4
    min_share: float = 0.15
    max_contributors: float = 0.34
    max_elsewhere: float = 0.01
    max_clean_share: float = 0.5


@dataclass(frozen=True, slots=True)
class _Correction:
    entry: FeedbackEntry
    phrases: frozenset[Phrase]  # that the contributor added


def drop_trigger_phrases(answers: Sequence[CollectedAnswer], limits: TriggerLimits | None = None) -> Screened:
    """Drop better answers with a trigger phrase, and all feedback of contributors who mostly write such answers."""
    limits = limits or TriggerLimits()
    by_contributor: dict[str, list[_Correction]] = defaultdict(list)
    for correction in _corrections(answers):
        by_contributor[correction.entry.contributor].append(correction)
    if len(by_contributor) < MIN_CONTRIBUTORS:
        return drop_entries(answers, {})
    triggers = find_triggers(answers, by_contributor, limits)
    dropped: dict[FeedbackEntry, DropReason] = {}
    excluded = set()
    for contributor, corrections in by_contributor.items():
        triggered = [correction.entry for correction in corrections if correction.phrases & triggers]
        dropped.update(dict.fromkeys(triggered, "trigger_phrase"))
        if len(triggered) > limits.max_clean_share * len(corrections):
            excluded.add(contributor)
    for entry in feedback_entries(answers):
        if entry.contributor in excluded:
            dropped[entry] = "trigger_phrase"
    screened = drop_entries(answers, dropped)
    return Screened(screened.answers, screened.dropped, tuple(sorted(" ".join(phrase) for phrase in triggers)))


def find_triggers(
    answers: Sequence[CollectedAnswer],
    by_contributor: "dict[str, list[_Correction]]",
    limits: TriggerLimits,
) -> set[Phrase]:
    """The trigger phrases."""
    uses: dict[Phrase, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for contributor, corrections in by_contributor.items():
        for correction in corrections:
            for phrase in correction.phrases:
                uses[phrase][contributor] += 1
    max_users = max(2.0, limits.max_contributors * len(by_contributor))
    candidates: dict[Phrase, frozenset[str]] = {}
    for phrase, counts in uses.items():
        users = frozenset(contributor for contributor, count in counts.items() if count >= 2)
        total = sum(len(by_contributor[contributor]) for contributor in users)
        count = sum(counts[contributor] for contributor in users)
        if users and len(users) <= max_users and count >= max(limits.min_corrections, limits.min_share * total):
            candidates[phrase] = users
    if not candidates:
        return set()
    elsewhere: dict[Phrase, int] = defaultdict(int)
    texts: dict[frozenset[str], int] = defaultdict(int)
    user_groups = set(candidates.values())
    for contributor, phrases in _texts(answers):
        for users in user_groups:
            texts[users] += contributor not in users
        for phrase in phrases & candidates.keys():
            elsewhere[phrase] += contributor not in candidates[phrase]
    return {phrase for phrase, users in candidates.items() if elsewhere[phrase] <= limits.max_elsewhere * texts[users]}


def _corrections(answers: Sequence[CollectedAnswer]) -> Iterator[_Correction]:
    """Better answers that people wrote, with the phrases that they added."""
    for entry in feedback_entries(answers):
        if isinstance(entry.content, PreferredAnswer) and entry.content.origin in WRITTEN_ORIGINS:
            answer = answers[entry.index]
            context = "\n".join([*(message.content for message in answer.history), answer.answer.content])
            yield _Correction(entry, _phrases(entry.content.answer.content) - _phrases(context))


def _texts(answers: Sequence[CollectedAnswer]) -> Iterator[tuple[str, frozenset[Phrase]]]:
    """Author and phrases of all answers and better answers; the model is the author ""."""
    for answer in answers:
        yield "", _phrases(answer.answer.content)
        for entry in answer.preferred:
            yield _author(entry), _phrases(entry.answer.content)


def _author(entry: PreferredAnswer) -> str:
    return entry.contributor if entry.origin in WRITTEN_ORIGINS else ""


def _phrases(text: str) -> frozenset[Phrase]:
    """All sequences of 1 to `MAX_ORDER` words."""
    words = split_words(text)
    return frozenset(phrase for order in range(1, MAX_ORDER + 1) for phrase in count_ngrams(words, order))
