"""RSS and Atom feeds. The bytes are fetched here, with limits; `feedparser` only parses them."""

import calendar
import hashlib
import time
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from io import BytesIO
from typing import Any
from urllib.parse import urljoin

from turnwise.app.monitor.http_client import HttpResponse, check_url, describe_failure, send_request, short_url
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.stream_texts import Position, SourceBatch, StreamText

MAX_FEED_BYTES = 8 * 2**20
FEED_SECONDS = 30.0  # time limit of a request
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
NOT_MODIFIED = 304
POLL_SECONDS = 300.0  # default pause between two requests
LONGEST_PAUSE_SECONDS = 3600.0  # after failures
_ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1"


class FeedSource:
    """Polls a feed. The text of an entry is its title and its summary, without HTML.

    Entries are recognised by their id, else by their link. The position holds ETag and Last-Modified, so that an
    unchanged feed is not sent again, and the ids of the last response, so that its entries stay known for as long as
    the feed has them. After a failure the pause doubles, up to an hour, and batches have the reason.

    Redirects never lead from https to http, nor from a public server to an address of a private network.

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

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return up to `limit` entries; asks the server if the pause is over."""
        stored = dict(position or {})
        now = self._clock()
        if not self._unread and not self._last_poll <= now < self._next_poll:  # also if the clock was set back
            self._poll(stored, now)
        texts = tuple(self._unread[:limit])
        self._num_returned = len(texts)
        has_more = len(texts) < len(self._unread)
        # The validators are stored with the last entry only: after a crash before, the feed has to be sent again.
        after = stored if has_more or self._position is None else self._position
        return SourceBatch(texts, after, has_more, error=self._error, next_read=self._expected_poll())

    def confirm(self, position: Position) -> None:  # noqa: ARG002
        """Forget the entries that were returned last."""
        del self._unread[: self._num_returned]
        self._num_returned = 0

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    def _expected_poll(self) -> float | None:
        """Time of the next poll if none fails. None after failures for so long that others do not wait any more."""
        is_failing = self._clock() - self._last_success > self._poll_seconds + LONGEST_PAUSE_SECONDS
        return None if is_failing else self._last_success + self._poll_seconds

    def _poll(self, stored: Mapping[str, Any], now: float) -> None:
        self._last_poll = now
        try:
            response = self._fetch(stored)
            if response.status != NOT_MODIFIED:
                texts, earlier_ids = self._parse(response), frozenset(stored.get("entries", ()))
                validators = {
                    name: response.headers[name] for name in ("etag", "last-modified") if name in response.headers
                }
                self._position = {**validators, "entries": sorted({text.id for text in texts})}
                self._unread = [text for text in texts if text.id not in earlier_ids]
            self._error, self._num_failures, self._last_success = "", 0, now
        except (OSError, UserError) as error:
            self._error = describe_failure(error) if isinstance(error, OSError) else str(error)
            self._num_failures += 1
        pause = self._poll_seconds * 2.0 ** min(self._num_failures, 20)
        self._next_poll = now + min(pause, max(self._poll_seconds, LONGEST_PAUSE_SECONDS))

    def _fetch(self, stored: Mapping[str, Any]) -> HttpResponse:
        """The response with the feed, or 304. Raises `OSError` and `InvalidParameter`."""
        only_public = False
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity"}
        for validator, header in (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")):
            if isinstance(stored.get(validator), str):
                headers[header] = stored[validator]
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            response = send_request(
                "GET", url, headers, max_bytes=MAX_FEED_BYTES, seconds=FEED_SECONDS, only_public=only_public
            )
            if response.status not in REDIRECTS:
                break
            only_public = only_public or response.is_public
            target = urljoin(url, response.headers.get("location", ""))
            parts = check_url(target, needs_https=False)
            if url.startswith("https:") and parts.scheme != "https":
                raise OSError("the feed redirects from https to http")
            url = target
        if response.status not in (200, NOT_MODIFIED):
            raise OSError(f"the feed answered with status {response.status}")
        if response.is_truncated:
            raise OSError(f"the feed has more than {MAX_FEED_BYTES:,} bytes")
        if response.headers.get("content-encoding", "identity") not in ("identity", ""):
            raise OSError("the feed is compressed although that was not asked for")
        return response

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
