"""The demonstrations whose user messages are most similar to the first user message of the dialogue."""

import itertools

from turnwise.text.rendering.demonstration_pool import DemonstrationPool


def select(pool: DemonstrationPool, query: str, shots: int) -> list[int]:
    """The most similar demonstrations, best last; those without any similarity fill up in their order."""
    best = pool.nearest(query, shots)
    fill = (index for index in range(pool.size) if index not in best)
    return [*best, *itertools.islice(fill, shots - len(best))][::-1]
