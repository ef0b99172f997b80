"""Connects the monitor with the detector of surges and the index of near copies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from turnwise.core.errors import InvalidParameter, did_you_mean


class DetectedSurge(Protocol):
    """An event of a detector: a surge opens or closes.

    Attributes:
        topic: name of the topic.
        kind: "volume" or "negative_share".
        phase: "opened" or "closed".
        start: estimated beginning of the surge, in Unix seconds.
        at: end of the window that raised the event, in Unix seconds.
        expected: expected number of texts, or negative share.
        observed: observed number or share.
        score: statistic of the detector.
        alert_id: id of the surge, the same for both phases and after a restart.
    """

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def phase(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def at(self) -> int: ...  # noqa: D102
    @property
    def expected(self) -> float: ...  # noqa: D102
    @property
    def observed(self) -> float: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102
    @property
    def alert_id(self) -> str: ...  # noqa: D102


class TopicDetector(Protocol):
    """Detects surges of one topic. Continues exactly from its state."""

    def update(self, window: Any) -> Sequence[DetectedSurge]:
        """Process the next window."""

    def state(self) -> dict[str, Any]:
        """JSON object from which another detector continues."""


class CopyIndex(Protocol):
    """Recognises near copies. Continues exactly from its state."""

    def add(self, text: str, time: float) -> int | None:
        """Add the next text; returns the number of the earlier text that it copies. Numbers start at 0."""

    def state(self) -> dict[str, Any]:
        """JSON object from which another index continues."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Constructors of the statistics.

    Attributes:
        window_seconds: length of a window.
        make_window: the detector's input from topic, start, count and number of negative texts.
        open_detector: a detector of one topic that continues from a state; None: a new one.
        open_copy_index: an index that continues from a state; None: a new one.
    """

    window_seconds: int
    make_window: Callable[[str, int, int, int], Any]
    open_detector: Callable[[Mapping[str, Any] | None], TopicDetector]
    open_copy_index: Callable[[Mapping[str, Any] | None], CopyIndex]


def load_detection(settings: Mapping[str, Any]) -> Detection:
    """Return the detection of `turnwise.monitor`.

    Args:
        settings: fields of `DetectorSettings` that differ from their defaults.

    Raises:
        InvalidParameter: a setting is unknown or has an invalid value.
    """
    surges = import_module("turnwise.monitor.surge_detector")
    copies = import_module("turnwise.monitor.near_copies")
    names = list(surges.DetectorSettings.__dataclass_fields__)
    for name in settings:
        if name not in names:
            raise InvalidParameter("detector", f"Unknown detector setting '{name}': {did_you_mean(name, names)}")
    try:
        detector_settings = surges.DetectorSettings(**settings)
    except InvalidParameter:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidParameter("detector", f"The detector settings are invalid: {error}") from error

    def open_detector(state: Mapping[str, Any] | None) -> TopicDetector:
        detector = surges.SurgeDetector
        result: TopicDetector = (
            detector(detector_settings) if state is None else detector.from_state(detector_settings, state)
        )
        return result

    def open_copy_index(state: Mapping[str, Any] | None) -> CopyIndex:
        index = copies.NearCopies()
        if state is not None:
            index.load_state(state)
        result: CopyIndex = index
        return result

    return Detection(detector_settings.window_seconds, surges.WindowCount, open_detector, open_copy_index)
