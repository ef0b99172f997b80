"""ROUGE-L (Lin 2004), computed with rouge-score."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.text.word_tokens import split_words


class _WordTokenizer:
    """Replaces rouge-score's tokenizer, which drops all letters except Latin ones."""

    def tokenize(self, text: str) -> list[str]:
        return split_words(text)


class RougeLMetric(Metric):
    """Mean F1 of the longest common subsequence."""

    SORT_ORDER = 120
    LABEL = "ROUGE-L"
    DESCRIPTION = (
        "Mean F1 of the longest common word subsequence of the generated and the reference reply (rouge-score)."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    VALUE_FORMAT = ".4f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """F1 of each reply, and 1."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], tokenizer=_WordTokenizer())
        return statistics_array(
            [
                (scorer.score(sample.reference, result.outputs[0].text)["rougeL"].fmeasure, 1.0)
                for sample, result in zip(samples, results, strict=True)
            ]
        )
