"""Interface of what is expected of a topic: the number of texts, or the number of negative ones among them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["volume", "negative_share"]


@dataclass(slots=True)
class Observation:
    """One window and what was expected of it.

    Attributes:
        start: begin of the window in Unix seconds.
        count: texts; of the negative share, negative texts.
        texts: texts.
        expected: expected `count`.
        base: expected count without the level, or expected share of negative texts; 0 where nothing is known.
        is_excluded: belongs to a surge, so that level and dispersion are not learned from it.
    """

    start: int
    count: int
    texts: int
    expected: float
    base: float = 0.0
    is_excluded: bool = False


class SurgeModel(ABC):
    """Expected counts, learned from the history of one topic, and the tests against them."""

    kind: Kind

    @abstractmethod
    def begin_window(self, start: int) -> None:
        """Decay old counts up to the window at `start`."""

    @abstractmethod
    def observe(self, start: int, texts: int, negative: int) -> Observation:
        """Return the window with what is expected of it."""

    @abstractmethod
    def learn(self, observation: Observation) -> None:
        """Learn from a window without a surge. Windows come in order."""

    @abstractmethod
    def learn_surge(self, observation: Observation) -> None:
        """Learn the season from a window of a surge, so that what recurs every day becomes expected."""

    @abstractmethod
    def end_of_run(self) -> None:
        """Note that the next window to learn does not follow the last one."""

    @abstractmethod
    def relearn_level(self, observations: Sequence[Observation]) -> None:
        """Take the level of these windows as the expected one: the change has lasted. Without texts it stays."""

    @abstractmethod
    def llr(self, count: int, texts: int, expected: float, index: int) -> float:
        """Log-likelihood ratio of a surge over an interval of length `LENGTHS[index]`; 0 where it is too small."""

    @abstractmethod
    def return_llr(self, observation: Observation, factor: float) -> float:
        """Log-likelihood ratio of the expected rate against one raised by `factor`, for one window."""

    @abstractmethod
    def expected_value(self, observation: Observation) -> float:
        """Expected number of texts, or expected share of negative texts, of a window."""

    @abstractmethod
    def summarize(self, count: int, texts: int, expected: float) -> tuple[float, float]:
        """Expected and observed value for an event."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state as JSON data."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
