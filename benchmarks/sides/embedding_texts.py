"""Texts of mixed length for all sides of embedding_speed.py. Imports nothing, so that every environment can use it."""

BATCH = 32
SENTENCES = (
    "Where is my order?",
    "How do I reset the password of my account?",
    "The chain of my bicycle came off on the way to work, and now the gears do not shift.",
    "Thanks!",
    "I was charged twice for the same subscription in March and would like one of the payments back.",
    "The lamp flickers when the fan is on.",
    "Can I change the delivery address after the parcel has been sent, or do I have to order again?",
    "Opening hours on Sunday?",
    "The manual says to hold the button for five seconds, but the light stays red whatever I do.",
    "Please cancel my appointment on Tuesday and offer me another one in the same week.",
)


def mixed_texts(count: int) -> list[str]:
    """Texts of one to twelve sentences, most of them short."""
    texts = []
    for number in range(count):
        num_sentences = (1, 1, 2, 1, 3, 1, 5, 2, 1, 12, 1, 4)[number * 7 % 12]
        texts.append(" ".join(SENTENCES[(number * 3 + i * 7) % len(SENTENCES)] for i in range(num_sentences)))
    return texts
