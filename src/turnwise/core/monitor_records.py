"""What the text monitor finds: labelled texts, counts of topics, what was expected of them, and alerts."""

from collections.abc import Mapping
from dataclasses import dataclass

from turnwise.core.stream_texts import StreamText


@dataclass(frozen=True, slots=True)
class MonitoredText:
    """A text with its labels.

    Attributes:
        number: position in the stream, from 0. Every stored text has the next number.
        text: the text.
        topics: its topics.
        sentiment: its label; None without a classifier.
        is_negative: the label counts as negative.
        copy_of: number of the earlier text that it copies.
        is_late: its window was closed when it arrived, so that no window counts it.
    """

    number: int
    text: StreamText
    topics: tuple[str, ...]
    sentiment: str | None = None
    is_negative: bool = False
    copy_of: int | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class TopicCount:
    """Counts of one topic in one window.

    Attributes:
        topic: name of the topic.
        start: start of the window, in Unix seconds.
        texts: number of texts, copies included.
        count: number of texts without copies.
        negative: number of negative texts without copies.
    """

    topic: str
    start: int
    texts: int
    count: int
    negative: int


@dataclass(frozen=True, slots=True)
class TopicExpectation:
    """What the detector expected of a topic in a window.

    Attributes:
        topic: name of the topic.
        start: start of the window, in Unix seconds.
        until: end of the window, in Unix seconds.
        count: expected number of texts without copies.
        negative: expected number of negative texts among those that came.
        thresholds: smallest numbers of texts that open an alert on the volume, by seconds up to the end of the window.
    """

    topic: str
    start: int
    until: int
    count: float
    negative: float
    thresholds: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ExpectedCount:
    """Sums of what was expected of a topic in an interval.

    Attributes:
        topic: name of the topic.
        start: start of the interval, in Unix seconds.
        seconds: total length of the windows of which something was expected.
        count: expected number of texts without copies.
        negative: expected number of negative texts among those that came.
        threshold: smallest number of texts of the interval that opens an alert on the volume; None if the interval is
            not over, is longer than the detector tests, or has windows of which nothing was expected.
    """

    topic: str
    start: int
    seconds: int
    count: float
    negative: float
    threshold: int | None


@dataclass(frozen=True, slots=True)
class SurgeAlert:
    """A surge of a topic.

    Attributes:
        id: unique id, the same after a restart and in a replay.
        topic: name of the topic.
        kind: "volume" or "negative_share".
        start: estimated beginning of the surge, in Unix seconds.
        opened: end of the window that raised the alert, in Unix seconds.
        closed: end of the window that ended the surge; None while it lasts.
        expected: expected number of texts, or negative share, at the opening.
        observed: observed number or share at the opening.
        score: statistic of the detector at the opening.
        summary: short description of the texts.
    """

    id: str
    topic: str
    kind: str
    start: int
    opened: int
    closed: int | None
    expected: float
    observed: float
    score: float
    summary: str
