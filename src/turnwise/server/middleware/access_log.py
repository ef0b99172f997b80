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

from turnwise.server.error_responses import truncate
from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.server.request_context import RequestContext, bind_request

LogFormat = Literal["text", "json"]
REQUEST_ID_HEADER = "x-request-id"
IGNORED_FIELDS_HEADER = "x-ignored-fields"
NOT_ENFORCED_HEADER = "x-not-enforced"
MAX_HEADER_CHARS = 500  # characters of a header's value

access_log = logging.getLogger("turnwise.access")
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class AccessLogMiddleware:
    """Gives every request an id, logs and counts how it went. A query, a header or a body is never logged."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, routes: Sequence[BaseRoute]) -> None:
        """Count in `metrics`, by the templates of `routes`."""
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; 499 stands for a client that left before the answer began."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_context, original_scope = RequestContext(_request_id(scope)), dict(scope)
        bind_request(request_context)
        status, start_time, is_recorded = 499, time.perf_counter(), False

        def record() -> None:
            nonlocal is_recorded
            if not is_recorded:
                is_recorded = True
                self._metrics.record_request(
                    scope["method"], _template(scope, original_scope, self._routes), status, request_context.code
                )
                _log(scope, request_context, status, 1000 * (time.perf_counter() - start_time))

        async def send_and_record(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_context.id
                if request_context.ignored:
                    headers[IGNORED_FIELDS_HEADER] = _listed(request_context.ignored)
                if request_context.not_enforced:
                    headers[NOT_ENFORCED_HEADER] = _listed(request_context.not_enforced)
            elif not message.get("more_body", False):
                record()  # before the last byte leaves: whoever has the answer finds it in the log
            await send(message)

        try:
            await self._app(scope, receive, send_and_record)
        finally:
            record()


def _listed(paths: Sequence[str]) -> str:
    """Paths as the value of a header: JSON strings in ASCII, as many as fit."""
    listed: list[str] = []
    for path in paths:
        listed.append(json.dumps(truncate(path)))
        if sum(map(len, listed)) > MAX_HEADER_CHARS:
            return ", ".join([*listed[:-1], '"..."'])
    return ", ".join(listed)


def _log(scope: Scope, request_context: RequestContext, status: int, ms: float) -> None:
    path = truncate(scope["path"]).encode("unicode_escape").decode()  # no line breaks of a client's making
    fields = {
        "method": truncate(scope["method"]),
        "path": path,
        "status": status,
        "ms": round(ms, 1),
        "key": None if request_context.key is None else request_context.key.name,
        "user": request_context.user,
        "model": request_context.model,
        "prompt_tokens": request_context.prompt_tokens,
        "completion_tokens": request_context.completion_tokens,
        "finish": request_context.finish_reason,
        "error": request_context.code,
        "request_id": request_context.id,
    }
    access_log.info("%s %s %d %.0f ms", fields["method"], path, status, ms, extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    """The client's own where it is harmless, else a new one."""
    said = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return said if _VALID_REQUEST_ID.fullmatch(said) else f"req_{secrets.token_hex(12)}"


def _template(scope: Scope, original_scope: Scope, routes: Sequence[BaseRoute]) -> str:
    """The path of the route as it was declared: there are few of them, whatever clients ask for.

    The router notes the route in `scope`. What was turned away before it, and files, are looked up as they were
    `asked` for.
    """
    known = (*routes, *scope["app"].routes) if "app" in scope else routes
    route = scope.get("route") or next(
        (each for each in known if each.matches(original_scope)[0] is not Match.NONE), None
    )
    return str(getattr(route, "path", None) or "unknown")


class JsonFormatter(logging.Formatter):
    """Every record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; requests have fields of their own, everything else a message."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        content: dict[str, Any] = {"time": moment, "level": record.levelname.lower()}
        fields = getattr(record, "fields", None)
        content.update({"message": record.getMessage()} if fields is None else fields)
        return json.dumps(content, ensure_ascii=False)


def make_formatter(kind: LogFormat) -> logging.Formatter:
    """How records are written: a line for people, or JSON for programs."""
    if kind == "json":
        return JsonFormatter()
    return logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
