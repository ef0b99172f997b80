"""Response selection: R@1 of the true reply among 20 candidates (Lowe et al. 2015).

Replies to random questions are easy to tell apart. If the data names intents, up to half of the distractors therefore
answer a question with the same intent.
"""

import random
from collections.abc import Sequence

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.last_replies import dialogue_id, subsample
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

NUM_CANDIDATES = 20
MAX_DIALOGUES = 120  # each needs 20 replies to be scored


class SelectionMetric(Metric):
    """Share of dialogues whose true reply is the most likely of 20."""

    SORT_ORDER = 20
    LABEL = "response selection, R@1/20"
    DESCRIPTION = (
        "Share of dialogues whose true reply has the highest mean log-probability per token of 20 candidates. The "
        "others are seeded replies from the same data, up to half of them with the same intent. Ties count as wrong."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per last reply; none if the data has fewer than 20 different replies."""
        return selection_samples(dialogues, seed, NUM_CANDIDATES)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if the true reply, the first, is the most likely, and 1."""
        del samples
        losses_by_sample = [
            [score.nll / max(1, score.num_tokens) for score in result.loglikelihoods] for result in results
        ]
        return statistics_array([(float(losses[0] < min(losses[1:])), 1.0) for losses in losses_by_sample])


def selection_samples(dialogues: Sequence[Conversation], seed: int, num_candidates: int) -> list[Sample]:
    """Build samples whose first query scores the true reply, the others seeded distractors."""
    replies = [
        (number, *history_and_reply, str(dialogue.meta.get("intent") or ""))
        for number, dialogue in enumerate(dialogues)
        if (history_and_reply := last_reply(dialogue)) is not None
    ]
    pool = sorted({reply for _, _, reply, _ in replies})
    if len(pool) < num_candidates:
        return []
    # All replies to the same history are right, so none of them may be a distractor.
    right_replies: dict[str, set[str]] = {}
    for _, history, reply, _ in replies:
        right_replies.setdefault(dialogue_id(history), set()).add(reply)
    by_intent: dict[str, set[str]] = {}
    for _, _, reply, intent in replies:
        by_intent.setdefault(intent, set()).add(reply)
    samples = []
    for number, history, reply, intent in subsample(replies, MAX_DIALOGUES, seed):
        rng = random.Random(f"{seed} {number}")
        right = right_replies[dialogue_id(history)]
        if len(pool) - len(right) < num_candidates - 1:
            continue
        same_intent = sorted(by_intent[intent] - right) if intent else []
        distractors = rng.sample(same_intent, min(len(same_intent), (num_candidates - 1) // 2))
        excluded = {*right, *distractors}
        while len(distractors) < num_candidates - 1:
            candidate = rng.choice(pool)
            if candidate not in excluded:
                distractors.append(candidate)
                excluded.add(candidate)
        tools = dialogues[number].tools
        queries = tuple(
            LoglikelihoodQuery((*history, Message("assistant", text)), tools) for text in (reply, *distractors)
        )
        samples.append(Sample(dialogue_id(history), loglikelihood_queries=queries, reference=reply))
    return samples
