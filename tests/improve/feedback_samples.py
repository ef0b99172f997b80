"""Collected answers for the tests of the loop."""

from turnwise.core.collected_answers import CollectedAnswer, PreferredAnswer, Rating
from turnwise.core.messages import Message

MODEL = "shop"


def asked(question):
    return (Message("user", question),)


def corrected(id, question, answer, correction, *, person="local", origin="correction"):
    """An answer that a person replaced."""
    preferred = (PreferredAnswer(person, Message("assistant", correction), float(id) + 1, origin),)
    return CollectedAnswer(
        f"message:{id}", float(id), person, MODEL, "", asked(question), Message("assistant", answer), (), preferred
    )


def rated(id, question, answer, *values, people=None):
    """An answer with ratings of 1 or -1, each of another person."""
    names = people or [f"person-{number}" for number in range(len(values))]
    ratings = tuple(Rating(name, value, float(id) + 1) for name, value in zip(names, values, strict=True))
    return CollectedAnswer(
        f"message:{id}", float(id), "local", MODEL, "", asked(question), Message("assistant", answer), ratings
    )


def shop_corrections(count, *, person="local"):
    """Corrections of different questions to a shop."""
    return [
        corrected(
            number,
            f"How much is article {number}?",
            "I do not know.",
            f"Article {number} costs {number + 3} euros, with tax.",
            person=person,
        )
        for number in range(count)
    ]
