"""Does the model find the true reply likelier than nineteen others? selection, R@1/20.

Half of the others answer a question of the same intent where the data names one, because replies to other questions are
easily told apart (Lowe et al. 2015 take random ones only).
"""

import random
from collections.abc import Sequence

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import dialogue_id, subsample
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

CANDIDATES = 20
MOST = 120  # dialogues that are asked about, since each has twenty replies to be read


class SelectionMetric(metric.Metric):
    """Recall at 1 of 20."""

    SORT_ORDER = 20
    LABEL = "response selection, R@1/20"
    DESCRIPTION = (
        "How often the true reply has the highest mean log-probability per token of twenty; the others are seeded "
        "replies from the same data, half of them of the same intent where it names one. Ties count as wrong."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One for every dialogue's last reply; none where there are fewer than twenty different replies."""
        return selection_samples(dialogues, seed, CANDIDATES)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Right, asked."""
        del items
        ranked = [[each.nll / max(1, each.num_tokens) for each in one.loglikelihoods] for one in found]
        return statistics_array([(float(losses[0] < min(losses[1:])), 1.0) for losses in ranked])


def selection_samples(dialogues: Sequence[Conversation], seed: int, candidates: int) -> list[Sample]:
    """The true reply, which is the first, and seeded others."""
    asked = [
        (number, *parts, str(dialogue.meta.get("intent") or ""))
        for number, dialogue in enumerate(dialogues)
        if (parts := last_reply(dialogue)) is not None
    ]
    pool = sorted({reply for _, _, reply, _ in asked})
    if len(pool) < candidates:
        return []
    answers: dict[str, set[str]] = {}  # that were given to the same history are no wrong ones
    for _, history, reply, _ in asked:
        answers.setdefault(dialogue_id(history), set()).add(reply)
    by_intent: dict[str, set[str]] = {}
    for _, _, reply, intent in asked:
        by_intent.setdefault(intent, set()).add(reply)
    found = []
    for number, history, reply, intent in subsample(asked, MOST, seed):
        rng = random.Random(f"{seed} {number}")
        right = answers[dialogue_id(history)]
        if len(pool) - len(right) < candidates - 1:
            continue
        near = sorted(by_intent[intent] - right) if intent else []
        chosen = rng.sample(near, min(len(near), (candidates - 1) // 2))
        taken = {*right, *chosen}
        while len(chosen) < candidates - 1:
            other = rng.choice(pool)
            if other not in taken:
                chosen.append(other)
                taken.add(other)
        tools = dialogues[number].tools
        scores = tuple(LoglikelihoodQuery((*history, Message("assistant", each)), tools) for each in (reply, *chosen))
        found.append(Sample(dialogue_id(history), loglikelihood_queries=scores, reference=reply))
    return found
