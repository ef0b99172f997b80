"""Quantiles of scores, to choose thresholds for filtering."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from rich.table import Table

from turnwise.core.messages import Conversation
from turnwise.data.rows import Record
from turnwise.synthesis.dialogue_scorer import scores_of

QUANTILES = (0.1, 0.5, 0.9)


class ScoreQuantiles:
    """Collects the scores of a stream of records, separately for synthetic and human dialogues.

    `num_unscored` counts the dialogues without a reply that the model could score.
    """

    def __init__(self) -> None:
        self.num_unscored = 0
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def observe(self, items: Iterable[Record]) -> Iterator[Record]:
        """Yield the records unchanged and collect their scores."""
        for item in items:
            if isinstance(item, Conversation):
                scores = scores_of(item)
                self.num_unscored += "likelihood" not in scores
                for name, value in scores.items():
                    self._values[name, "synthetic" if item.is_synthetic else "human"].append(value)
            yield item

    def table(self) -> Table:
        """A table with one row per score and kind of dialogue, and one column per quantile."""
        table = Table("score", "dialogues", "count", "10 %", "median", "90 %")
        for (name, origin), values in sorted(self._values.items()):
            quantiles = (f"{value:.2f}" for value in np.quantile(values, QUANTILES))
            table.add_row(name, origin, f"{len(values):,}", *quantiles)
        return table
