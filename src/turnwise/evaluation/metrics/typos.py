"""What mistyped questions cost: typos, the loss in likelihood of the true reply."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.messages import Conversation, Message
from turnwise.data.typing_noise import rough_text
from turnwise.evaluation import metric
from turnwise.evaluation.samples import Found, Item, Score
from turnwise.evaluation.metric import Floats, ratio, statistics_array
from turnwise.evaluation.last_replies import group_of, last_reply, subsample

SHARE = 0.1  # of the words of every user turn
MOST = 200  # dialogues that are read twice


class Metric(metric.Metric):
    """How much more surprising replies are after mistyped questions."""

    ORDER = 90
    LABEL = "loss by typos"
    ABOUT = (
        f"How much the true reply's cross-entropy rises with {SHARE:.0%} of the longer words of user turns misspelt."
    )
    BETTER = "lower"
    RANGE = (-1.0, math.inf)
    SHOWN = ".2%"
    SCORES = True

    def items(self, dialogues: Sequence[Conversation], seed: int) -> list[Item]:
        """The last replies, after what was typed and after what might have been."""
        found = []
        for number, dialogue in subsample(list(enumerate(dialogues)), MOST, seed):
            if (parts := last_reply(dialogue)) is None:
                continue
            history, reply = parts
            rng = random.Random(f"{seed} {number}")
            rough = tuple(
                replace(message, content=rough_text(message.content, rng, SHARE)) if message.role == "user" else message
                for message in history
            )
            if rough != history:
                said = Message("assistant", reply)
                scores = tuple(Score((*before, said), dialogue.tools) for before in (history, rough))
                found.append(Item(group_of(history), scores=scores, reference=reply))
        return found

    def statistics(self, items: Sequence[Item], found: Sequence[Found]) -> Floats:
        """Nats after typos, nats without."""
        del items
        return statistics_array([(each.scored[1].nats, each.scored[0].nats) for each in found])

    def value(self, totals_XK: Floats) -> Floats:
        """The relative rise."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1]) - 1
