"""RSS and Atom feeds. `feedparser` only parses the bytes that `feed_request` has fetched with limits."""

import calendar
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

from turnwise.app.monitor.http_client import HttpResponse, check_url, describe_failure, short_url
from turnwise.app.monitor.sources.background_call import BackgroundCall
from turnwise.app.monitor.sources.feed_request import FEED_SECONDS, NOT_MODIFIED, VALIDATORS, fetch_feed
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.stream_texts import Position, SourceBatch, StreamText

POLL_SECONDS = 300.0  # default pause between two requests
LONGEST_PAUSE_SECONDS = 3600.0  # after failures
PARSE_SECONDS = 30.0  # to parse a feed, and for all that the time limit of the request does not cover, such as names


@dataclass(frozen=True, slots=True)
class FeedEntries:
    """Texts of a feed, oldest first, and the headers that recognise this version of it."""

    texts: list[StreamText]
    validators: dict[str, str]


class FeedSource:
    """Polls a feed. The text of an entry is its title and its summary, without HTML.

    Entries are recognised by their id, else by their link. The position holds ETag and Last-Modified, so that an
    unchanged feed is not sent again, and the ids of the last response, so that its entries stay known for as long as
    the feed has them. After a failure the pause doubles, up to an hour, and batches have the reason.

    A thread requests and parses the feed, so that a slow server delays no other source. Batches are empty meanwhile.

    Args:
        url: http or https.
        name: name of the source.
        poll_seconds: pause between two requests.
        clock: returns Unix seconds.

    Raises:
        InvalidParameter: the URL is not http or https.
        UserError: feedparser is not installed.
    """

    def __init__(
        self, url: str, name: str, poll_seconds: float = POLL_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        try:
            import feedparser  # noqa: F401
        except ImportError as error:
            raise UserError("Feeds need feedparser: pip install 'turnwise[monitor]'.") from error
        check_url(url, needs_https=False)
        self.name, self._error = name, ""
        self._url, self._poll_seconds, self._clock = url, poll_seconds, clock
        self._records = TextRecords(name, clock=clock)
        self._last_poll, self._next_poll, self._last_success = 0.0, 0.0, clock()
        self._num_failures = 0
        self._unread: list[StreamText] = []
        self._num_returned = 0
        self._position: dict[str, Any] | None = None  # after the last unread entry
        self._call: BackgroundCall[FeedEntries | None] | None = None
        self._is_waiting = False

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return up to `limit` entries that have arrived; begins a request if the pause is over."""
        stored = dict(position or {})
        now = self._clock()
        if self._is_waiting:
            self._collect(stored, now)
        elif not self._unread and not self._last_poll <= now < self._next_poll:  # also if the clock was set back
            self._request(stored, now)
        texts = tuple(self._unread[:limit])
        self._num_returned = len(texts)
        has_more = len(texts) < len(self._unread)
        # The validators are stored with the last entry only: after a crash before, the feed has to be sent again.
        after = stored if has_more or self._position is None else self._position
        return SourceBatch(
            texts, after, has_more, error=self._error, is_waiting=self._is_waiting, next_read=self._expected_poll()
        )

    def confirm(self, position: Position) -> None:  # noqa: ARG002
        """Forget the entries that were returned last."""
        del self._unread[: self._num_returned]
        self._num_returned = 0

    def close(self) -> None:
        """Do nothing: a request that is under way ends with the program, or at its time limit."""

    def _expected_poll(self) -> float | None:
        """Time of the next poll if none fails. None after failures for so long that others do not wait any more."""
        is_failing = self._clock() - self._last_success > self._poll_seconds + LONGEST_PAUSE_SECONDS
        return None if is_failing else self._last_success + self._poll_seconds

    def _request(self, stored: Mapping[str, Any], now: float) -> None:
        self._last_poll, self._is_waiting = now, True
        if self._call is None or not self._call.is_running:  # else an abandoned request counts as one more failure
            self._call = BackgroundCall(lambda: self._read_feed(stored), FEED_SECONDS + PARSE_SECONDS, "monitor-feed")

    def _collect(self, stored: Mapping[str, Any], now: float) -> None:
        """Take over what the thread has read, if it is ready."""
        if self._call is None or not self._call.is_ready:
            return
        self._is_waiting = False
        try:
            feed = self._call.result()
            if feed is not None:
                earlier_ids = frozenset(stored.get("entries", ()))
                self._position = {**feed.validators, "entries": sorted({text.id for text in feed.texts})}
                self._unread = [text for text in feed.texts if text.id not in earlier_ids]
            self._error, self._num_failures, self._last_success = "", 0, self._last_poll
        except (OSError, UserError) as error:
            self._error = describe_failure(error) if isinstance(error, OSError) else str(error)
            self._num_failures += 1
        pause = self._poll_seconds * 2.0 ** min(self._num_failures, 20)
        self._next_poll = now + min(pause, max(self._poll_seconds, LONGEST_PAUSE_SECONDS))

    def _read_feed(self, stored: Mapping[str, Any]) -> FeedEntries | None:
        """The feed; None if it has not changed. Runs in the thread. Raises `OSError` and `UserError`."""
        response = fetch_feed(self._url, stored)
        if response.status == NOT_MODIFIED:
            return None
        validators = {name: response.headers[name] for name in VALIDATORS if name in response.headers}
        return FeedEntries(self._parse(response), validators)

    def _parse(self, response: HttpResponse) -> list[StreamText]:
        """Entries of a feed, oldest first."""
        import feedparser

        headers = {"content-type": response.headers.get("content-type", "application/xml")}
        # A file object: feedparser would take a string or bytes for an address or a file name.
        feed = feedparser.parse(BytesIO(response.body), response_headers=headers, sanitize_html=False)
        if not feed.entries and not feed.version:
            raise InvalidParameter("feed", f"{short_url(self._url)} is not an RSS or Atom feed.")
        texts = [text for entry in feed.entries if (text := self._text(entry)) is not None]
        return sorted(texts, key=lambda text: text.time)

    def _text(self, entry: Mapping[str, Any]) -> StreamText | None:
        title, summary = _plain_text(entry.get("title", "")), _plain_text(entry.get("summary", ""))
        content = summary if summary.startswith(title) else f"{title}\n{summary}".strip()
        moment = entry.get("published_parsed") or entry.get("updated_parsed")
        key = entry.get("id") or entry.get("link") or f"{title}\n{summary}"
        record = {
            "text": content,
            "id": hashlib.sha256(str(key).encode("utf-8", "replace")).hexdigest()[:32],
            "time": calendar.timegm(moment) if moment else None,
        }
        return self._records.parse_record(record, "")


class _TextParser(HTMLParser):
    """Collects the text of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in ("p", "br", "div", "li"):
            self.pieces.append(" ")


def _plain_text(value: Any) -> str:
    parser = _TextParser()
    parser.feed(str(value))
    parser.close()
    return " ".join("".join(parser.pieces).split())
