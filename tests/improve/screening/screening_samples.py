"""Short ways to write answers with feedback."""

import itertools

from turnwise.core.collected_answers import CollectedAnswer, PreferredAnswer, Rating
from turnwise.core.messages import Message

_NUMBERS = itertools.count()


def answer(
    question="When are you open?", text="We are open from nine to five.", *, ratings=(), corrections=(), id=None
):
    """An answer.

    `ratings`: pairs of contributor and value; `corrections`: pairs of contributor and text. Later ones are newer.
    """
    number = next(_NUMBERS)
    return CollectedAnswer(
        id=id or f"message:{number}",
        created=float(number),
        contributor="asker",
        model="assistant",
        weights_sha256="",
        history=(Message("user", question),),
        answer=Message("assistant", text),
        ratings=tuple(Rating(name, value, number + 0.01 * index) for index, (name, value) in enumerate(ratings)),
        preferred=tuple(
            PreferredAnswer(name, Message("assistant", better), number + 0.01 * index, "correction")
            for index, (name, better) in enumerate(corrections)
        ),
    )


def rating_pairs(answers):
    """Contributor and value of all ratings."""
    return [(rating.contributor, rating.value) for item in answers for rating in item.ratings]


def correction_texts(answers):
    """Texts of all better answers."""
    return [entry.answer.content for item in answers for entry in item.preferred]


def reasons(screened):
    """Reasons of what was dropped, in order of the name."""
    return sorted(entry.reason for entry in screened.dropped)
