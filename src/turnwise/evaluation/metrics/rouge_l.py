"""The longest run of words, in order, that an answer shares with what a person said: rouge_l (Lin 2004)."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.word_tokens import split_words


class _Words:
    """rouge-score's own tokenizer knows Latin letters only."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return split_words(text)


class RougeLMetric(metric.Metric):
    """Mean F of the longest common subsequence."""

    SORT_ORDER = 120
    LABEL = "ROUGE-L"
    DESCRIPTION = "Mean F of the longest common subsequence of words (rouge-score)."
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    VALUE_FORMAT = ".4f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """F, one."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], tokenizer=_Words())
        return statistics_array(
            [
                (scorer.score(item.reference, each.outputs[0].text)["rougeL"].fmeasure, 1.0)
                for item, each in zip(items, found, strict=True)
            ]
        )
