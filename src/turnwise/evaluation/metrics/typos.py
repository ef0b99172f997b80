"""Robustness against typos: the rise of the reference reply's cross-entropy."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message
from turnwise.data.typing_noise import add_typos
from turnwise.evaluation.last_replies import dialogue_id, subsample
from turnwise.evaluation.metric import FloatArray, Metric, ratio, statistics_array
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

TYPO_RATE = 0.1  # share of the words of 4 or more letters in user messages
MAX_DIALOGUES = 200  # each is scored twice


class TyposMetric(Metric):
    """Relative rise of the cross-entropy after misspelt user messages."""

    SORT_ORDER = 90
    LABEL = "loss by typos"
    DESCRIPTION = (
        f"Relative rise of the reference reply's cross-entropy if {TYPO_RATE:.0%} of the longer words in user messages "
        "are misspelt."
    )
    BETTER = "lower"
    RANGE = (-1.0, math.inf)
    VALUE_FORMAT = ".2%"
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies, scored after the original history and after one with typos."""
        samples = []
        for number, dialogue in subsample(list(enumerate(dialogues)), MAX_DIALOGUES, seed):
            if (parts := last_reply(dialogue)) is None:
                continue
            history, reply = parts
            rng = random.Random(f"{seed} {number}")
            noisy_history = tuple(
                replace(message, content=add_typos(message.content, rng, TYPO_RATE))
                if message.role == "user"
                else message
                for message in history
            )
            if noisy_history != history:
                answer = Message("assistant", reply)
                queries = tuple(
                    LoglikelihoodQuery((*before, answer), dialogue.tools) for before in (history, noisy_history)
                )
                samples.append(Sample(dialogue_id(history), loglikelihood_queries=queries, reference=reply))
        return samples

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """Negative log-likelihood with and without typos."""
        del samples
        return statistics_array([(result.loglikelihoods[1].nll, result.loglikelihoods[0].nll) for result in results])

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """Relative rise."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1]) - 1
