"""Texts of a stream that is monitored, and the port of the sources that deliver them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Position = Mapping[str, Any]  # JSON object; only the source that wrote it reads it


@dataclass(frozen=True, slots=True)
class StreamText:
    """A text of a stream.

    Attributes:
        id: unique in the stream. A second text with the same id is a duplicate and is not counted.
        text: content.
        time: when the text was written, in Unix seconds.
        source: name of the source.
        sentiment: label that came with the text. None: the classifier labels it.
        topics: topics that came with the text. None: the topic rules decide.
    """

    id: str
    text: str
    time: float
    source: str
    sentiment: str | None = None
    topics: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """What a source delivers at once.

    Attributes:
        texts: new texts, in the order of the source.
        position: where the next batch begins.
        has_more: more texts can be read now, without waiting.
        is_finished: the source will never deliver more texts, such as a pipe that was closed.
        num_malformed: records before `position` that hold no text and were skipped.
        error: why the source cannot be read at present; empty if it can.
        is_waiting: a request of the source is under way: its texts come with a later batch.
        next_read: Unix time of the next request of a source that is asked at intervals, such as a feed: it may have
            texts of all times since the last one, so the clock closes no windows beyond it. None: it is read all the
            time, or cannot be read.
    """

    texts: tuple[StreamText, ...]
    position: Position
    has_more: bool = False
    is_finished: bool = False
    num_malformed: int = 0
    error: str = ""
    is_waiting: bool = False
    next_read: float | None = None


class TextSource(Protocol):
    """Delivers texts. Reading twice from the same position gives the same texts with the same ids."""

    @property
    def name(self) -> str:
        """Unique name; the store keeps the position under it."""

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return up to `limit` texts that can be read now, without waiting for more.

        Args:
            position: position of the previous batch; None at the first start.
            limit: maximum number of texts.

        Raises:
            UserError: the source cannot be used at all. Passing failures, such as a network error, give an empty batch.
        """

    def confirm(self, position: Position) -> None:
        """Called when the texts before `position` are stored."""

    def close(self) -> None:
        """Release files and threads."""
