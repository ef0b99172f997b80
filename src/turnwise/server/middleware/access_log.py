"""One line or one JSON object per request, never with what was said; and the counting that belongs to it."""

import json
import logging
import re
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.server.error_responses import cut
from turnwise.server.request_context import Exchange, begin
from turnwise.server.prometheus_metrics import Metrics

LogFormat = Literal["text", "json"]
REQUEST_ID = "x-request-id"
IGNORED = "x-ignored-fields"
NOT_ENFORCED = "x-not-enforced"
MAX_LISTED = 500  # characters of a header's value

access_log = logging.getLogger("turnwise.access")
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Observe:
    """Gives every request an id, logs and counts how it went. A query, a header or a body is never logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[BaseRoute]) -> None:
        """Count in `metrics`, by the templates of `routes`."""
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; 499 stands for a client that left before the answer began."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange, asked = Exchange(_request_id(scope)), dict(scope)
        begin(exchange)
        status, began, noted = 499, time.perf_counter(), False

        def note() -> None:
            nonlocal noted
            if not noted:
                noted = True
                self._metrics.answered(scope["method"], _template(scope, asked, self._routes), status, exchange.code)
                _log(scope, exchange, status, 1000 * (time.perf_counter() - began))

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = exchange.id
                if exchange.ignored:
                    headers[IGNORED] = _listed(exchange.ignored)
                if exchange.not_enforced:
                    headers[NOT_ENFORCED] = _listed(exchange.not_enforced)
            elif not message.get("more_body", False):
                note()  # before the last byte leaves: whoever has the answer finds it in the log
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            note()


def _listed(paths: Sequence[str]) -> str:
    """Paths as the value of a header: JSON strings in ASCII, as many as fit."""
    listed: list[str] = []
    for path in paths:
        listed.append(json.dumps(cut(path)))
        if sum(map(len, listed)) > MAX_LISTED:
            return ", ".join([*listed[:-1], '"..."'])
    return ", ".join(listed)


def _log(scope: Scope, exchange: Exchange, status: int, ms: float) -> None:
    path = cut(scope["path"]).encode("unicode_escape").decode()  # no line breaks of a client's making
    fields = {
        "method": cut(scope["method"]),
        "path": path,
        "status": status,
        "ms": round(ms, 1),
        "key": None if exchange.key is None else exchange.key.name,
        "user": exchange.user,
        "model": exchange.model,
        "prompt_tokens": exchange.prompt_tokens,
        "completion_tokens": exchange.completion_tokens,
        "finish": exchange.finish,
        "error": exchange.code,
        "request_id": exchange.id,
    }
    access_log.info("%s %s %d %.0f ms", fields["method"], path, status, ms, extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    """The client's own where it is harmless, else a new one."""
    said = Headers(scope=scope).get(REQUEST_ID, "")
    return said if _SANE_ID.fullmatch(said) else f"req_{secrets.token_hex(12)}"


def _template(scope: Scope, asked: Scope, routes: Sequence[BaseRoute]) -> str:
    """The path of the route as it was declared: there are few of them, whatever clients ask for.

    The router notes the route in `scope`. What was turned away before it, and files, are looked up as they were
    `asked` for.
    """
    known = (*routes, *scope["app"].routes) if "app" in scope else routes
    route = scope.get("route") or next((each for each in known if each.matches(asked)[0] is not Match.NONE), None)
    return str(getattr(route, "path", None) or "unknown")


class JsonLines(logging.Formatter):
    """Every record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; requests have fields of their own, everything else a message."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        content: dict[str, Any] = {"time": moment, "level": record.levelname.lower()}
        fields = getattr(record, "fields", None)
        content.update({"message": record.getMessage()} if fields is None else fields)
        return json.dumps(content, ensure_ascii=False)


def formatter(kind: LogFormat) -> logging.Formatter:
    """How records are written: a line for people, or JSON for programs."""
    if kind == "json":
        return JsonLines()
    return logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
