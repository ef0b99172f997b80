"""How much of an answer says again what it, or an earlier one, said: repetition."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.samples import Found, Item
from turnwise.evaluation.metric import Floats, statistics_array
from turnwise.evaluation.last_replies import reply_items
from turnwise.evaluation.word_tokens import grams, split_words

ORDER = 4


class Metric(metric.Metric):
    """Repeated 4-grams by all."""

    ORDER = 50
    LABEL = "repeated 4-grams"
    ABOUT = (
        "The share of an answer's runs of four words that it, or an earlier answer of the dialogue, has said before."
    )
    BETTER = "lower"
    RANGE = (0.0, 1.0)
    JUDGED = True
    GUARD = True
    SHOWN = ".2%"

    def items(self, dialogues: Sequence[Conversation], seed: int) -> list[Item]:
        """The last replies."""
        del seed
        return reply_items(dialogues)

    def statistics(self, items: Sequence[Item], found: Sequence[Found]) -> Floats:
        """Repeated, all."""
        pairs = []
        for item, each in zip(items, found, strict=True):
            said = {
                gram
                for message in item.asks[0].history
                if message.role == "assistant"
                for gram in grams(split_words(message.content), ORDER)
            }
            own = grams(split_words(each.answers[0].text), ORDER)
            again = sum(count if gram in said else count - 1 for gram, count in own.items())
            pairs.append((float(again), float(own.total())))
        return statistics_array(pairs)
