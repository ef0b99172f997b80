"""Keeps the dialogues whose scores are good enough."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from turnwise.core.errors import InvalidData, InvalidParameter, did_you_mean
from turnwise.core.messages import Conversation
from turnwise.data.rows import Record
from turnwise.synthesis.dialogue_scorer import scores_of

Kind = Literal["generated", "written"]


@dataclass(frozen=True)
class FilterCriteria:
    """What is kept.

    Args:
        least: the least of a score, by its name.
        best: a score and a share: so many of the judged dialogues are kept, those that have the most of it.
        only: leave all generated dialogues out, or all that people wrote.
        judge_written: judge what people wrote too; left alone, it stays whatever its scores.

    Raises `InvalidParameter` for a share out of range.
    """

    least: Mapping[str, float] = field(default_factory=dict)
    best: tuple[str, float] | None = None
    only: Kind | None = None
    judge_written: bool = False

    def __post_init__(self) -> None:
        if self.best is not None and not 0 < self.best[1] <= 1:
            raise InvalidParameter("best", f"'best' must be greater than 0 and at most 1, got {self.best[1]:g}.")

    def needs_scores(self, item: Record) -> bool:
        """Whether scores decide about it."""
        return isinstance(item, Conversation) and (self.judge_written or item.is_synthetic)

    def matches_kind(self, item: Record) -> bool:
        """Whether it is of the kind that is wanted."""
        generated = isinstance(item, Conversation) and item.is_synthetic
        return self.only is None or generated == (self.only == "generated")

    @property
    def names(self) -> set[str]:
        """The scores that are needed."""
        return {*self.least, *(self.best or ())[:1]}


@dataclass
class DialogueFilter:
    """Goes through items twice: once for their scores, once to keep some of them.

    Args:
        wanted: what is kept.
        path: what messages call the data.
    """

    wanted: FilterCriteria
    path: Path
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # why → how many

    def find_best(self, items: Iterable[Record]) -> set[int]:
        """The places of the best, among the judged ones; of equals the earlier.

        Raises `InvalidData` where no judged item has a score that is needed.
        """
        by, share = self.wanted.best or ("", 1.0)
        met, judged = Counter[str](), 0
        ranked: list[tuple[float, int]] = []
        for place, item in enumerate(items):
            if not (self.wanted.matches_kind(item) and self.wanted.needs_scores(item)):
                continue
            judged += 1
            scores = scores_of(item)
            met.update(scores.keys())
            if by in scores:
                ranked.append((-scores[by], place))
        for name in sorted(self.wanted.names):
            if judged and not met[name]:
                raise InvalidData(self._missing(name, met))
        return {place for _, place in sorted(ranked)[: math.ceil(share * len(ranked))]}

    def filter_records(self, items: Iterable[Record], best: set[int]) -> Iterator[Record]:
        """The items that are kept; `kept` and `fell` count."""
        for place, item in enumerate(items):
            reason = self._reason(item, place in best)
            if reason is None:
                self.kept += 1
                yield item
            else:
                self.dropped[reason] += 1

    def _reason(self, item: Record, best: bool) -> str | None:
        wanted = self.wanted
        if not wanted.matches_kind(item):
            return f"not {wanted.only}"
        if not wanted.needs_scores(item):
            return None
        scores = scores_of(item)
        for name in sorted(wanted.names):
            if name not in scores:
                return f"without {name}"
        for name, least in wanted.least.items():
            if scores[name] < least:
                return f"{name} below {least:g}"
        if wanted.best is not None and not best:
            by, share = wanted.best
            return f"not among the best {share:.0%} by {by}"
        return None

    def _missing(self, name: str, met: Iterable[str]) -> str:
        known = sorted(met)
        if known:
            return f"{self.path} has no score '{name}': {did_you_mean(name, known)}"
        return f"{self.path} has no scores. `turnwise data score {self.path} --out scored.jsonl` gives them."
