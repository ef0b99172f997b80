"""Facts about the current request, collected while it is processed and read by the access log."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field

from turnwise.core.access import NOBODY, Principal
from turnwise.core.api_keys import ApiKey
from turnwise.core.errors import TurnwiseError
from turnwise.core.key_usage import UsageCounts
from turnwise.core.served_versions import AnsweringVersion


@dataclass(slots=True)
class RequestContext:
    """One request and its response.

    Attributes:
        id: request id, for the client and the log.
        key: API key that the request was sent with.
        principal: who sent it; nobody until it is authenticated.
        user: end user, as named by the client.
        model: served name of the model that answers.
        prompt_tokens: prompt tokens of all completions of the request; None until a completion has ended.
        completion_tokens: generated tokens of all completions of the request.
        finish_reason: how the completion ended: a published finish reason, or cancelled, timeout or error.
        code: code of the error that the request was answered with.
        limit: time limit of the request.
        ignored: paths of unknown fields in the body, if the server ignores them.
        not_enforced: paths of keywords in the schemas of tools that are not enforced.
        version: version of the model that answers; None if the model has no versions.
        leases: what the request uses; released when the response has ended.
        record_usage: counts usage of a key, by its name; None: nothing is counted.
        encode_failure: encodes an error as the last bytes of the stream that is being sent; None without a stream.
    """

    id: str = ""
    key: ApiKey | None = None
    principal: Principal = NOBODY
    user: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    code: str | None = None
    limit: asyncio.Timeout | None = None
    ignored: tuple[str, ...] = ()
    not_enforced: tuple[str, ...] = ()
    version: AnsweringVersion | None = None
    leases: ExitStack = field(default_factory=ExitStack)
    record_usage: Callable[[str, UsageCounts], None] | None = None
    encode_failure: Callable[[TurnwiseError], bytes] | None = None

    def add_usage(self, counts: UsageCounts) -> None:
        """Count usage of the API key of the request, if it has one. It may have ended."""
        if self.key is not None and self.record_usage is not None:
            self.record_usage(self.key.name, counts)


# A ContextVar, because tasks and threads that a request starts inherit it.
_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def current_request() -> RequestContext:
    """Return the context of the current request; outside of a request, a new one that is not logged."""
    return _current.get() or RequestContext()


def current_tenant() -> str:
    """Return the name of the API key of the current request; empty without keys."""
    key = current_request().key
    return "" if key is None else key.name


def bind_request(request_context: RequestContext) -> None:
    """Set the context of the current request, for this task and for all tasks that it starts."""
    _current.set(request_context)
