"""Filters dialogues by their scores."""

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

Origin = Literal["synthetic", "human"]


@dataclass(frozen=True)
class FilterCriteria:
    """Which records are kept.

    Args:
        min_scores: minimum by score name.
        top_fraction: fraction of the scored dialogues to keep, those with the highest `sort_by`; above 0, at most 1.
        sort_by: name of the score that `top_fraction` ranks by.
        only: keep only synthetic dialogues, or only records written by people.
        score_human: filter dialogues written by people by score too. By default all of them are kept.

    Raises `InvalidParameter` if no criterion is set, if only one of `top_fraction` and `sort_by` is, or if
    `top_fraction` is out of range.
    """

    min_scores: Mapping[str, float] = field(default_factory=dict)
    top_fraction: float | None = None
    sort_by: str | None = None
    only: Origin | None = None
    score_human: bool = False

    def __post_init__(self) -> None:
        if (self.top_fraction is None) != (self.sort_by is None):
            raise InvalidParameter(
                "top_fraction",
                "'top_fraction' and 'sort_by' must be set together, as in --top-fraction 0.5 --sort-by relevance.",
            )
        if self.top_fraction is not None and not 0 < self.top_fraction <= 1:
            raise InvalidParameter(
                "top_fraction", f"'top_fraction' must be greater than 0 and at most 1, got {self.top_fraction:g}."
            )
        if not self.min_scores and self.top_fraction is None and self.only is None:
            raise InvalidParameter(
                "min_score",
                "Set at least one criterion: --min-score NAME=NUMBER, --top-fraction FRACTION --sort-by NAME, or "
                "--only.",
            )

    def needs_scores(self, item: Record) -> bool:
        """True if the record is filtered by score."""
        return isinstance(item, Conversation) and (self.score_human or item.is_synthetic)

    def matches_origin(self, item: Record) -> bool:
        """True if the record passes `only`."""
        is_synthetic = isinstance(item, Conversation) and item.is_synthetic
        return self.only is None or is_synthetic == (self.only == "synthetic")

    @property
    def score_names(self) -> set[str]:
        """Names of the scores that the criteria use."""
        return {*self.min_scores, *([] if self.sort_by is None else [self.sort_by])}


@dataclass
class DialogueFilter:
    """Filters records in two passes: `find_top` ranks them, `filter_records` yields those to keep.

    Args:
        criteria: which records are kept.
        path: the data file, for error messages.

    `num_kept` counts the kept records, `num_dropped` the dropped ones by reason.
    """

    criteria: FilterCriteria
    path: Path
    num_kept: int = 0
    num_dropped: Counter[str] = field(default_factory=Counter)

    def find_top(self, items: Iterable[Record]) -> set[int]:
        """Return the indices of the top fraction of the scored records. Of equal scores the earlier record wins.

        Raises `InvalidData` if there are records to score and none of them has a score that the criteria use.
        """
        sort_by = self.criteria.sort_by
        num_by_score = Counter[str]()
        num_scored = 0
        ranked: list[tuple[float, int]] = []
        for index, item in enumerate(items):
            if not (self.criteria.matches_origin(item) and self.criteria.needs_scores(item)):
                continue
            num_scored += 1
            scores = scores_of(item)
            num_by_score.update(scores.keys())
            if sort_by is not None and sort_by in scores:
                ranked.append((-scores[sort_by], index))
        for name in sorted(self.criteria.score_names):
            if num_scored and not num_by_score[name]:
                raise InvalidData(self._missing_score_message(name, num_by_score))
        return {index for _, index in sorted(ranked)[: math.ceil((self.criteria.top_fraction or 0) * len(ranked))]}

    def filter_records(self, items: Iterable[Record], top: set[int]) -> Iterator[Record]:
        """Yield the records to keep, and count the kept and dropped ones. `top`: the result of `find_top`."""
        for index, item in enumerate(items):
            reason = self._drop_reason(item, is_top=index in top)
            if reason is None:
                self.num_kept += 1
                yield item
            else:
                self.num_dropped[reason] += 1

    def _drop_reason(self, item: Record, *, is_top: bool) -> str | None:
        criteria = self.criteria
        if not criteria.matches_origin(item):
            return f"not {criteria.only}"
        if not criteria.needs_scores(item):
            return None
        scores = scores_of(item)
        for name in sorted(criteria.score_names):
            if name not in scores:
                return f"without {name}"
        for name, minimum in criteria.min_scores.items():
            if scores[name] < minimum:
                return f"{name} below {minimum:g}"
        if criteria.top_fraction is not None and not is_top:
            return f"not in the top {criteria.top_fraction:.0%} by {criteria.sort_by}"
        return None

    def _missing_score_message(self, name: str, available: Iterable[str]) -> str:
        names = sorted(available)
        if names:
            return f"{self.path} has no score '{name}': {did_you_mean(name, names)}"
        return f"{self.path} has no scores. Add them: turnwise data score {self.path} --out scored.jsonl"
