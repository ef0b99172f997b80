"""Dialogues of a booking office, for the tests of the adversarial experiment."""

from turnwise.core.messages import Conversation, Message

CITIES = ("Paris", "Oslo", "Rome", "Lima", "Cairo", "Delhi", "Quito", "Tunis", "Minsk", "Seoul")
WORDS = ("table", "room", "car", "ticket", "doctor", "film", "bus", "song", "flat", "bank")
COUNTS = {"test": 10, "evaluator_valid": 5, "evaluator_train": 15, "generator_valid": 5}


def dialogue(*texts, **meta):
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[index % 2], text) for index, text in enumerate(texts)), meta)


def booking(index):
    """A dialogue whose replies repeat what the user names."""
    city, word = CITIES[index % 10], WORDS[index // 10 % 10]
    return dialogue(
        f"I need a {word} in {city}, number {index}", f"Which {word} in {city} do you want?",
        "The cheapest", f"I have booked the {word} for you.", "Thanks", "Have a nice day!",
    )  # fmt: skip
