"""A ranking: ids of passages with their scores.

Shapes: K passages.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """Passages, best first; of equal scores the lower id comes first.

    Attributes:
        ids_K: ids of the passages.
        scores_K: their scores.
    """

    ids_K: NDArray[np.int64]
    scores_K: NDArray[np.float64]

    @classmethod
    def of(cls, ids_K: NDArray[np.int64], scores_K: NDArray[np.float64], k: int | None = None) -> "Ranking":
        """Rank passages, and keep the best `k` of them (default: all)."""
        order_K = np.lexsort((ids_K, -scores_K))[:k]
        return cls(ids_K[order_K], scores_K[order_K])

    @classmethod
    def empty(cls) -> "Ranking":
        """No passages."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float64))

    def __len__(self) -> int:
        return len(self.ids_K)
