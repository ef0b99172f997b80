"""The longest run of words, in order, that an answer shares with what a person said: rouge_l (Lin 2004)."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.samples import Found, Item
from turnwise.evaluation.metric import Floats, statistics_array
from turnwise.evaluation.last_replies import reply_items
from turnwise.evaluation.word_tokens import split_words


class _Words:
    """rouge-score's own tokenizer knows Latin letters only."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return split_words(text)


class Metric(metric.Metric):
    """Mean F of the longest common subsequence."""

    ORDER = 120
    LABEL = "ROUGE-L"
    ABOUT = "Mean F of the longest common subsequence of words (rouge-score)."
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    SHOWN = ".4f"

    def items(self, dialogues: Sequence[Conversation], seed: int) -> list[Item]:
        """The last replies."""
        del seed
        return reply_items(dialogues)

    def statistics(self, items: Sequence[Item], found: Sequence[Found]) -> Floats:
        """F, one."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], tokenizer=_Words())
        return statistics_array(
            [
                (scorer.score(item.reference, each.answers[0].text)["rougeL"].fmeasure, 1.0)
                for item, each in zip(items, found, strict=True)
            ]
        )
