"""Request ids, the access log and the metrics of HTTP requests. Queries, headers and bodies are never logged."""

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.core.key_usage import UsageCounts
from turnwise.server.error_responses import truncate
from turnwise.server.middleware.concurrency_limit import GENERATION_PATHS
from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.server.request_context import RequestContext, bind_request

REQUEST_ID_HEADER = "x-request-id"
IGNORED_FIELDS_HEADER = "x-ignored-fields"
VERSION_HEADER = "x-turnwise-version"
NOT_ENFORCED_HEADER = "x-not-enforced"
MAX_HEADER_CHARS = 500
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that disconnected before the response started

access_log = logging.getLogger("turnwise.access")
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class AccessLogMiddleware:
    """Gives every request an id, and logs and counts its outcome."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: ServerMetrics,
        routes: Sequence[BaseRoute],
        record_usage: Callable[[str, UsageCounts], None] | None = None,
    ) -> None:
        """Count requests.

        Args:
            app: the next application.
            metrics: counts them by the path templates of `routes`.
            routes: all routes.
            record_usage: counts them by the name of the API key. None: they are not counted.
        """
        self._app, self._metrics, self._routes, self._record_usage = app, metrics, routes, record_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a new request context."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context, original_scope = RequestContext(_request_id(scope), record_usage=self._record_usage), dict(scope)
        bind_request(context)
        status, start_time, is_recorded = CLIENT_CLOSED_REQUEST, time.perf_counter(), False

        def record() -> None:
            nonlocal is_recorded
            if not is_recorded:
                is_recorded = True
                route = _path_template(scope, original_scope, self._routes)
                self._metrics.record_request(scope["method"], route, status, context.code)
                if scope["method"] == "POST" and original_scope["path"] in GENERATION_PATHS:
                    context.add_usage(UsageCounts(requests=1, errors=int(_has_failed(status, context))))
                _log(scope, context, status, 1000 * (time.perf_counter() - start_time))

        async def send_message(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = context.id
                if context.version is not None:
                    headers[VERSION_HEADER] = _header_text(context.version.reference)
                if context.ignored:
                    headers[IGNORED_FIELDS_HEADER] = _header_value(context.ignored)
                if context.not_enforced:
                    headers[NOT_ENFORCED_HEADER] = _header_value(context.not_enforced)
            elif not message.get("more_body", False):
                record()  # before the last byte is sent, so that a client that has the response finds it in the log
            await send(message)

        try:
            with context.leases:
                await self._app(scope, receive, send_message)
        finally:
            record()


def _has_failed(status: int, context: RequestContext) -> bool:
    """Whether a request was rejected or failed. That its client has disconnected is no failure."""
    return (status >= 400 and status != CLIENT_CLOSED_REQUEST) or context.finish_reason in ("error", "timeout")


def _header_text(value: str) -> str:
    """A value without characters that headers cannot have."""
    return value.encode("unicode_escape").decode("ascii")


def _header_value(paths: Sequence[str]) -> str:
    """As many paths as fit, as JSON strings in ASCII."""
    quoted: list[str] = []
    for path in paths:
        quoted.append(json.dumps(truncate(path)))
        if sum(map(len, quoted)) > MAX_HEADER_CHARS:
            return ", ".join([*quoted[:-1], '"..."'])
    return ", ".join(quoted)


def _log(scope: Scope, context: RequestContext, status: int, ms: float) -> None:
    path = truncate(scope["path"]).encode("unicode_escape").decode()  # a client cannot add line breaks to the log
    fields = {
        "method": truncate(scope["method"]),
        "path": path,
        "status": status,
        "ms": round(ms, 1),
        "key": None if context.key is None else context.key.name,
        "user": context.user,
        "model": context.model,
        "version": None if context.version is None else context.version.reference,
        "prompt_tokens": context.prompt_tokens,
        "completion_tokens": context.completion_tokens,
        "finish": context.finish_reason,
        "error": context.code,
        "request_id": context.id,
    }
    access_log.info("%s %s %d %.0f ms", fields["method"], path, status, ms, extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    """The client's request id if it is harmless, else a new one."""
    request_id = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return request_id if _VALID_REQUEST_ID.fullmatch(request_id) else f"req_{secrets.token_hex(12)}"


def _path_template(scope: Scope, original_scope: Scope, routes: Sequence[BaseRoute]) -> str:
    """The path template of the route, so that metrics have a bounded number of labels.

    The router stores the route in `scope`. Requests that were rejected before it, and static files, are matched again.
    """
    candidates = (*routes, *scope["app"].routes) if "app" in scope else routes
    route = scope.get("route") or next(
        (candidate for candidate in candidates if candidate.matches(original_scope)[0] is not Match.NONE), None
    )
    return str(getattr(route, "path", None) or "unknown")
