"""A few items of every kind that objectives train on."""

import json
from dataclasses import asdict, replace

from turnwise.core.messages import Conversation, Message
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence
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
LABELLED = [LabeledText(text, (label,)) for text, label in (("Hello", "greeting"), ("The lamp is broken", "complaint"),
            ("你好", "greeting"), ("Order 1234567", "order"))]  # fmt: skip
TAGGED = [TaggedSentence(("The", "lamp", "in", "Rome", "is", "broken"), ("O", "O", "O", "B-LOC", "O", "O")),
          TaggedSentence(("Hello",), ("O",)), TaggedSentence(("New", "York"), ("B-LOC", "I-LOC"))]  # fmt: skip
# For objectives that need more than dialogues.
ITEMS = {
    "dpo": PAIRS, "kto": RATED, "mlm": TEXTS, "span": TEXTS,
    "sequence_classification": LABELLED, "token_classification": TAGGED,
}  # fmt: skip


def written(items, path):
    """Write the items to a data file."""
    from turnwise.data.jsonl_writer import write_jsonl

    if isinstance(items[0], LabeledText | TaggedSentence):
        path.write_text("".join(json.dumps(asdict(item)) + "\n" for item in items))
    else:
        write_jsonl(path, items)
    return path
