"""Realism: how well a discriminator tells generated replies from those of people."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.core.reply_scoring import ReplyScorer, ScoredReply
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric
from turnwise.evaluation.samples import Sample, SampleResult


class RealismMetric(Metric):
    """Mean of σ(D(generated reply) − D(human reply)) for a discriminator D."""

    SORT_ORDER = 160
    LABEL = "realism"
    DESCRIPTION = (
        "Mean over dialogues of σ(D(generated reply) − D(human reply)) for the discriminator D of --discriminator: "
        "50 % if it cannot tell the model from people. A model that was trained against this discriminator can exploit "
        "it: a claim about such a model needs a fresh one that it has never met."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    VALUE_FORMAT = ".1%"

    def __init__(self, open_scorer: Callable[[], ReplyScorer] | None = None) -> None:
        """Score with the discriminator that `open_scorer` opens at the first use. Without it there are no samples."""
        self._open_scorer = open_scorer

    @cached_property
    def _scorer(self) -> ReplyScorer:
        assert self._open_scorer is not None, "without a scorer there are no samples"
        return self._open_scorer()

    @cached_property
    def _human_scores(self) -> dict[ScoredReply, float]:
        """Scores of human replies, which are the same for every seed and system."""
        return {}

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return [] if self._open_scorer is None else last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """σ(D(generated reply) − D(human reply)), and 1. Raises as `ReplyScorer.score` does."""
        human = [_reply(sample, sample.reference) for sample in samples]
        generated = [_reply(sample, result.outputs[0].text) for sample, result in zip(samples, results, strict=True)]
        new = [reply for reply in dict.fromkeys(human) if reply not in self._human_scores]
        self._human_scores.update(zip(new, self._scorer.score(new), strict=True))
        human_I = np.array([self._human_scores[reply] for reply in human], dtype=np.float64)
        margins_I = np.array(self._scorer.score(generated), dtype=np.float64) - human_I
        odds_I = (1 + np.tanh(margins_I / 2)) / 2  # σ, without an overflow
        statistics_IK: FloatArray = np.stack([odds_I, np.ones_like(odds_I)], axis=1)
        return statistics_IK


def _reply(sample: Sample, text: str) -> ScoredReply:
    (query,) = sample.generation_queries
    return ScoredReply(query.history, text, query.tools)
