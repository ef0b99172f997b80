"""How scores are distributed, so that people see where to cut."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from rich.table import Table

from turnwise.core.messages import Conversation
from turnwise.data.rows import Record
from turnwise.synthesis.dialogue_scorer import scores_of

QUANTILES = (0.1, 0.5, 0.9)


class ScoreQuantiles:
    """Collects scores that go by, those of generated dialogues apart from those that people wrote.

    `unjudged` counts dialogues of which no reply was judged.
    """

    def __init__(self) -> None:
        self.num_unscored = 0
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def observe(self, items: Iterable[Record]) -> Iterator[Record]:
        """The items as they are."""
        for item in items:
            if isinstance(item, Conversation):
                self.num_unscored += "likelihood" not in scores_of(item)
                for name, value in scores_of(item).items():
                    self._values[name, "generated" if item.is_synthetic else "written"].append(value)
            yield item

    def table(self) -> Table:
        """Scores by row, quantiles by column."""
        table = Table("score", "of dialogues", "number", "10 %", "median", "90 %")
        for (name, kind), values in sorted(self._values.items()):
            quantiles = (f"{value:.2f}" for value in np.quantile(values, QUANTILES))
            table.add_row(name, kind, f"{len(values):,}", *quantiles)
        return table
