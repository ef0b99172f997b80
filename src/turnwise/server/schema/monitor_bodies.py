"""Bodies of `GET /v1/monitor/…`."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel

from turnwise.core.monitor_records import ExpectedCount, SurgeAlert, TopicCount
from turnwise.monitor.copy_groups import TextGroup

MAX_TEXT_CHARS = 4000  # of a text of an alert


class TopicList(BaseModel):
    """The topics that have counts, in alphabetical order. `newest_window` is the start of the newest counted window."""

    object: Literal["list"] = "list"
    data: list[str]
    newest_window: int | None


class TrendBody(BaseModel):
    """Counts of a topic, one for every interval of the list.

    `texts` are all texts, `counts` those without copies, `negatives` the negative ones without copies. `expected` and
    `expected_negatives` are what the detector expected of the last two before it saw them. `thresholds` are the
    smallest counts of an interval that open an alert on the volume. Null: nothing was expected, or, of thresholds, the
    interval is not over or longer than the detector tests (two hours, with windows of five minutes).
    """

    object: Literal["monitor.trend"] = "monitor.trend"
    topic: str
    texts: list[int]
    counts: list[int]
    negatives: list[int]
    expected: list[float | None]
    expected_negatives: list[float | None]
    thresholds: list[int | None]

    @classmethod
    def of(
        cls, topic: str, starts: Sequence[int], seconds: int, sums: Iterable[TopicCount],
        expected_sums: Iterable[ExpectedCount],
    ) -> "TrendBody":  # fmt: skip
        """Arrange the counts of a topic by interval; intervals without counts have zeros."""
        complete = {
            expected.start: expected
            for expected in expected_sums
            if expected.seconds == seconds or expected.start == starts[-1]
        }
        expectations = [complete.get(start) for start in starts]
        by_start = {count.start: count for count in sums}
        empty = TopicCount(topic, 0, 0, 0, 0)
        row = [by_start.get(start, empty) for start in starts]
        return cls(
            topic=topic,
            texts=[count.texts for count in row],
            counts=[count.count for count in row],
            negatives=[count.negative for count in row],
            expected=[None if entry is None else round(entry.count, 2) for entry in expectations],
            expected_negatives=[None if entry is None else round(entry.negative, 2) for entry in expectations],
            thresholds=[None if entry is None else entry.threshold for entry in expectations],
        )


class TrendList(BaseModel):
    """Counts of topics over time.

    `starts` are the beginnings of the intervals in Unix seconds, `seconds` is their length. The last interval has the
    newest counted window of any topic, which starts at `newest_window`.
    """

    object: Literal["list"] = "list"
    data: list[TrendBody]
    starts: list[int]
    seconds: int
    newest_window: int | None


class AlertBody(BaseModel):
    """An alert. Times are in Unix seconds.

    `start` is the estimated beginning of the surge, `opened` the end of the window that raised the alert, `closed` that
    of the window that ended it (null while the alert is open). `expected` and `observed` are a number of texts, or a
    share of negative ones, as `kind` says.
    """

    id: str
    object: Literal["monitor.alert"] = "monitor.alert"
    topic: str
    kind: str
    start: int
    opened: int
    closed: int | None
    expected: float
    observed: float
    score: float
    summary: str

    @classmethod
    def of(cls, alert: SurgeAlert) -> "AlertBody":
        """Convert an alert."""
        return cls(
            id=alert.id, topic=alert.topic, kind=alert.kind, start=alert.start, opened=alert.opened,
            closed=alert.closed, expected=alert.expected, observed=alert.observed, score=alert.score,
            summary=alert.summary,
        )  # fmt: skip


class AlertList(BaseModel):
    """The newest alerts, newest first. `has_more`: there are older ones."""

    object: Literal["list"] = "list"
    data: list[AlertBody]
    has_more: bool


class AlertTextBody(BaseModel):
    """A text of an alert; `copies` is the number of its near copies among the texts of the alert."""

    id: str
    source: str
    time: float
    text: str
    is_truncated: bool
    sentiment: str | None
    is_negative: bool
    copies: int

    @classmethod
    def of(cls, group: TextGroup) -> "AlertTextBody":
        """Convert a text with its near copies."""
        entry = group.text
        return cls(
            id=entry.text.id, source=entry.text.source, time=entry.text.time, text=entry.text.text[:MAX_TEXT_CHARS],
            is_truncated=len(entry.text.text) > MAX_TEXT_CHARS, sentiment=entry.sentiment,
            is_negative=entry.is_negative, copies=group.size - 1,
        )  # fmt: skip


class AlertWithTexts(AlertBody):
    """An alert with its texts: near copies together, the text with the most copies first."""

    texts: list[AlertTextBody]

    @classmethod
    def with_texts(cls, alert: SurgeAlert, groups: Sequence[TextGroup]) -> "AlertWithTexts":
        """Convert an alert and its texts."""
        return cls(**dict(AlertBody.of(alert)), texts=[AlertTextBody.of(group) for group in groups])
