"""Connects the monitor with the detector of surges and the index of near copies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_type_hints

from pydantic import create_model

from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.monitor import near_copies, surge_detector
from turnwise.monitor.near_copies import NearCopies
from turnwise.monitor.surge_detector import DetectorSettings, SurgeDetector, SurgeEvent, WindowCount, WindowExpectation

COPY_HOURS = 6.0  # a text is compared with those of so many hours


class TopicDetector(Protocol):
    """Detects surges of one topic. Continues exactly from its state."""

    def update(self, window: WindowCount) -> Sequence[SurgeEvent]:
        """Process the next window."""

    def expectation(self, topic: str) -> WindowExpectation | None:
        """What was expected of the last window; None if nothing is known."""

    def state(self) -> dict[str, Any]:
        """JSON object from which another detector continues."""


class CopyIndex(Protocol):
    """Recognises near copies. Continues exactly from its state."""

    def add(self, text: str, time: float) -> int | None:
        """Add the next text; returns the number of the earlier text that it copies."""

    def state(self) -> dict[str, Any]:
        """JSON object from which another index continues."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Constructors of the statistics.

    Attributes:
        window_seconds: length of a window.
        make_window: the detector's input from topic, start, count and number of negative texts.
        open_detector: a detector of one topic that continues from a state; None: a new one.
        open_copy_index: an index that continues from a state; None: a new one, whose first text has this number.
        detector_version: version of the states of detectors.
        copies_version: version of the states of the index.
    """

    window_seconds: int
    make_window: Callable[[str, int, int, int], WindowCount]
    open_detector: Callable[[Mapping[str, Any] | None], TopicDetector]
    open_copy_index: Callable[[Mapping[str, Any] | None, int], CopyIndex]
    detector_version: int = 1
    copies_version: int = 1


# Checks types: a length of windows that is not an integer would give other ids of alerts.
_FIELDS: Any = {
    name: (kind, getattr(DetectorSettings(), name)) for name, kind in get_type_hints(DetectorSettings).items()
}
_DetectorSection: type[StrictModel] = create_model("_DetectorSection", __base__=StrictModel, **_FIELDS)


def load_detection(settings: Mapping[str, Any]) -> Detection:
    """Return the detection of `turnwise.monitor`.

    Args:
        settings: fields of `DetectorSettings` that differ from their defaults.

    Raises:
        InvalidParameter: a setting is unknown or has an invalid value.
    """
    section = parse_strict_model(_DetectorSection, dict(settings), origin="detector")
    detector_settings = DetectorSettings(**section.model_dump())

    def open_detector(state: Mapping[str, Any] | None) -> TopicDetector:
        if state is None:
            return SurgeDetector(detector_settings)
        return SurgeDetector.from_state(detector_settings, state)

    def open_copy_index(state: Mapping[str, Any] | None, first_number: int) -> CopyIndex:
        index = NearCopies(COPY_HOURS, first_id=first_number)
        if state is not None:
            index.load_state(state)
        return index

    return Detection(
        detector_settings.window_seconds, WindowCount, open_detector, open_copy_index,
        surge_detector.STATE_VERSION, near_copies.STATE_VERSION,
    )  # fmt: skip
