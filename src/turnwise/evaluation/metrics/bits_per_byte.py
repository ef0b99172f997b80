"""How surprising what assistants really said is to a model, by byte: bits_per_byte."""

import math
from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.samples import Found, Item, Score
from turnwise.evaluation.metric import Floats, ratio, statistics_array
from turnwise.evaluation.last_replies import group_of


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
        found = []
        for dialogue in dialogues:
            messages = dialogue.messages
            replies = [at for at, message in enumerate(messages) if message.role == "assistant" and message.full_text]
            scores = tuple(
                Score(messages[: at + 1], dialogue.tools) for at in replies if at
            )  # nobody is asked to speak first
            if scores:
                found.append(Item(group_of(messages), scores=scores))
        return found

    def statistics(self, items: Sequence[Item], found: Sequence[Found]) -> Floats:
        """Nats, bytes and tokens."""
        del items
        return statistics_array(
            [
                (
                    sum(one.nats for one in each.scored),
                    sum(one.bytes for one in each.scored),
                    sum(one.tokens for one in each.scored),
                )
                for each in found
            ],
            3,
        )

    def value(self, totals_XK: Floats) -> Floats:
        """Bits by byte."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1]) / math.log(2)
