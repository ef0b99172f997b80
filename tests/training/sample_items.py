"""A few items of every kind that objectives train on."""

from dataclasses import replace

from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document


def dialogue(*texts, **more):
    """A dialogue of user and assistant texts in turn."""
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)), **more)


FOUR = [
    dialogue("Hello", "How can I help you today?"),
    dialogue("The lamp is broken", "I'd like to order a new one.", "Thank you", "Sehr gern!"),
    dialogue("你好", "请问我能帮你什么忙?"),
    dialogue("Order 1234567", "It's on its way 🚚."),
]
WORSE = ["No.", "Wie geht es dir?", "今天天气很好。", "The kitchen is in the park, and so on."]
PAIRS = [
    replace(talk, rejected=(*talk.messages[:-1], Message("assistant", worse)))
    for talk, worse in zip(FOUR, WORSE, strict=True)
]
RATED = [replace(talk, rating=number != 1) for number, talk in enumerate(FOUR)]
TEXTS = [Document("Hello, how can I help you today? The lamp in the kitchen is broken again."), *FOUR[1:]]
ITEMS = {"dpo": PAIRS, "kto": RATED, "mlm": TEXTS, "span": TEXTS}  # for objectives that need more than dialogues


def written(items, path):
    """Write the items to a data file."""
    from turnwise.data.jsonl_writer import write_jsonl

    write_jsonl(path, items)
    return path
