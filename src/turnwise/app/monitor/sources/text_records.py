"""Reads the texts in lines: JSON objects, or plain text."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.stream_texts import StreamText

FIELDS = ("text", "time", "id", "sentiment", "topics")
MAX_TEXT = 20_000  # characters of a text that are kept
MAX_TOPICS_PER_TEXT, MAX_TOPIC_LENGTH = 20, 200  # further ones, and characters, are ignored
MAX_TIME = 253_402_300_800.0  # Unix seconds of the year 10,000, which dates end before
_MILLISECONDS_FROM = 1e11  # numbers from here on are milliseconds: as seconds they are the year 5138


class TextRecords:
    """Makes texts of records.

    A record has the key `text`, and optionally `time` (Unix seconds or milliseconds, or an ISO 8601 time, in UTC if it
    has no zone), `id`, `sentiment` and `topics`. Other names of keys are given by `fields`. Without a time a text has
    the time of its arrival.

    Args:
        source: name of the source.
        fields: keys of the records, by the names above, such as {"text": "body"}.
        clock: returns Unix seconds.

    Raises:
        InvalidParameter: `fields` has an unknown name.
    """

    def __init__(
        self, source: str, fields: Mapping[str, str] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        for name in fields or {}:
            if name not in FIELDS:
                raise InvalidParameter("fields", f"Unknown field '{name}' of a source: {did_you_mean(name, FIELDS)}")
        self._source, self._clock = source, clock
        self._keys = {name: (fields or {}).get(name, name) for name in FIELDS}

    def parse_line(self, line: bytes, place_id: str) -> StreamText | None:
        """The text of a line: of a JSON object, or the line itself if it is none. None: the line holds no text.

        Args:
            line: UTF-8; invalid bytes are replaced.
            place_id: where the line stands, such as an offset; the id of a text without an id is a digest of it.
        """
        content = line.decode("utf-8", "replace").strip().removeprefix("\ufeff")
        if not content.startswith("{"):
            return self._make(content, None, None, place_id)
        try:
            record = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return self.parse_record(record, place_id)

    def parse_record(self, record: Any, place_id: str) -> StreamText | None:
        """The text of a JSON object; None if it has no text, or its time is invalid."""
        if not isinstance(record, dict):
            return None
        values = {name: record.get(key) for name, key in self._keys.items()}
        content, id = values["text"], values["id"]
        if not isinstance(content, str):
            return None
        if values["time"] is None:
            seconds = None
        elif (seconds := parse_time(values["time"])) is None:
            return None
        sentiment = values["sentiment"] if isinstance(values["sentiment"], str) else None
        topics = values["topics"]
        if isinstance(topics, str):
            topics = [topics]
        has_topics = isinstance(topics, list) and all(isinstance(topic, str) for topic in topics)
        return self._make(
            content,
            seconds,
            str(id) if self.has_id(record) else None,
            place_id,
            sentiment=None if sentiment is None else _valid(sentiment),
            topics=limit_topics(map(_valid, topics or ())) if has_topics else None,
        )

    def has_id(self, record: Any) -> bool:
        """True if a JSON object has an id."""
        id = record.get(self._keys["id"]) if isinstance(record, dict) else None
        return isinstance(id, str | int) and not isinstance(id, bool) and id != ""

    def _make(
        self, content: str, seconds: float | None, id: str | None, place_id: str, **labels: Any
    ) -> StreamText | None:
        content = _valid(content.strip())[:MAX_TEXT]
        if not content:
            return None
        unique = id if id else hashlib.sha256(place_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        time = self._clock() if seconds is None else seconds
        return StreamText(_valid(f"{self._source}:{unique}"), content, time, self._source, **labels)


def limit_topics(topics: Iterable[str]) -> tuple[str, ...]:
    """The first topics of a text, each once and not too long, without empty ones."""
    names = dict.fromkeys(topic.strip()[:MAX_TOPIC_LENGTH] for topic in topics)
    return tuple(islice(filter(None, names), MAX_TOPICS_PER_TEXT))


def parse_time(value: Any) -> float | None:
    """Unix seconds of a number (seconds or milliseconds) or an ISO 8601 text; None if it is neither."""
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value < 1000 * MAX_TIME:  # also NaN, and integers that a float cannot hold
            return None
        seconds = value / 1000 if value >= _MILLISECONDS_FROM else float(value)
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return seconds if seconds is not None and 0 <= seconds < MAX_TIME else None


def _valid(text: str) -> str:
    """The text without unpaired surrogates, which JSON can hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
