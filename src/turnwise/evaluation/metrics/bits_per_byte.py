"""How surprising what assistants really said is to a model, by byte: bits_per_byte."""

import math
from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.items import Found, Item, Score
from turnwise.evaluation.metric import Floats, ratio, rows


class Metric(metric.Metric):
    """Cross-entropy by byte, so that models with different tokenizers may be compared."""

    ORDER = 40
    LABEL = "bits per byte"
    ABOUT = (
        "Cross-entropy of what assistants said, all turns, by byte of it; models with different tokenizers compare "
        "by this one only."
    )
    BETTER = "lower"
    JUDGED = True
    SHOWN = ".4f"
    SCORES = True

    def items(self, dialogues: Sequence[Conversation], seed: int) -> list[Item]:
        """Every dialogue in which an assistant says something."""
        del seed
        return [
            Item(f"dialogue {number}", scores=(Score(dialogue.messages, whole=True),))
            for number, dialogue in enumerate(dialogues)
            if any(message.role == "assistant" and message.content for message in dialogue.messages)
        ]

    def statistics(self, items: Sequence[Item], found: Sequence[Found]) -> Floats:
        """Nats, bytes and tokens."""
        del items
        scored = [each.scored[0] for each in found]
        return rows([(each.nats, each.bytes, each.tokens) for each in scored], 3)

    def value(self, totals_XK: Floats) -> Floats:
        """Bits by byte."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1]) / math.log(2)
