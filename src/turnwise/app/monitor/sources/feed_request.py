"""Requests of feeds, with limits on time, size and redirects."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from turnwise.app.monitor.http_client import HttpResponse, check_url, send_request

MAX_FEED_BYTES = 8 * 2**20
FEED_SECONDS = 30.0  # time limit of a request and its redirects
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
NOT_MODIFIED = 304
VALIDATORS = ("etag", "last-modified")
_ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1"


def fetch_feed(url: str, stored: Mapping[str, Any]) -> HttpResponse:
    """Request a feed, and follow redirects.

    Redirects never lead from https to http, nor from a public server to an address of a private network.

    Args:
        url: http or https.
        stored: position of the source, with the validators of the last response.

    Returns:
        The response with the feed, or with status 304 if it has not changed.

    Raises:
        OSError: the server cannot be reached, breaks the protocol, or has no feed. InvalidParameter: a redirect is
            not http or https.
    """
    end = time.monotonic() + FEED_SECONDS
    only_public = False
    headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity"}
    for validator, header in (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")):
        if isinstance(stored.get(validator), str):
            headers[header] = stored[validator]
    for _ in range(MAX_REDIRECTS + 1):
        seconds = max(0.1, end - time.monotonic())
        response = send_request("GET", url, headers, max_bytes=MAX_FEED_BYTES, seconds=seconds, only_public=only_public)
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
