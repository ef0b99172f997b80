"""What mistyped questions cost: typos, the loss in likelihood of the true reply."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message
from turnwise.data.typing_noise import add_typos
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import dialogue_id, subsample
from turnwise.evaluation.metric import FloatArray, ratio, statistics_array
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

SHARE = 0.1  # of the words of every user turn
MOST = 200  # dialogues that are read twice


class TyposMetric(metric.Metric):
    """How much more surprising replies are after mistyped questions."""

    SORT_ORDER = 90
    LABEL = "loss by typos"
    DESCRIPTION = (
        f"How much the true reply's cross-entropy rises with {SHARE:.0%} of the longer words of user turns misspelt."
    )
    BETTER = "lower"
    RANGE = (-1.0, math.inf)
    VALUE_FORMAT = ".2%"
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies, after what was typed and after what might have been."""
        found = []
        for number, dialogue in subsample(list(enumerate(dialogues)), MOST, seed):
            if (parts := last_reply(dialogue)) is None:
                continue
            history, reply = parts
            rng = random.Random(f"{seed} {number}")
            rough = tuple(
                replace(message, content=add_typos(message.content, rng, SHARE)) if message.role == "user" else message
                for message in history
            )
            if rough != history:
                said = Message("assistant", reply)
                scores = tuple(LoglikelihoodQuery((*before, said), dialogue.tools) for before in (history, rough))
                found.append(Sample(dialogue_id(history), loglikelihood_queries=scores, reference=reply))
        return found

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Nats after typos, nats without."""
        del items
        return statistics_array([(each.loglikelihoods[1].nll, each.loglikelihoods[0].nll) for each in found])

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """The relative rise."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1]) - 1
