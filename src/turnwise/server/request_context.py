"""What is known of one request while it is answered: whoever learns something writes it here, the log reads it."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from turnwise.core.api_keys import ApiKey
from turnwise.core.errors import TurnwiseError


@dataclass(slots=True)
class RequestContext:
    """One request and its answer.

    Attributes:
        id: what client and log call it.
        key: the key it came with.
        user: whom it was sent for, as the client calls them.
        model: the served name that answered it.
        prompt_tokens: tokens read; None where that was not learned.
        completion_tokens: tokens written.
        finish: how the completion ended: a published finish reason, or cancelled, timeout or error.
        code: the code of the error it was answered with.
        limit: its time limit.
        ignored: unknown fields of its body, where the server lets them pass.
        not_enforced: keywords of its tools' schemas that its answer is not held to.
        encode_failure: encodes an error as the last bytes of the stream that is being sent; None without a stream.
    """

    id: str = ""
    key: ApiKey | None = None
    user: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    code: str | None = None
    limit: asyncio.Timeout | None = None
    ignored: tuple[str, ...] = ()
    not_enforced: tuple[str, ...] = ()
    encode_failure: Callable[[TurnwiseError], bytes] | None = None


# Tasks and threads that a request starts see its exchange too; that is what a ContextVar is for.
_current: ContextVar[RequestContext | None] = ContextVar("exchange", default=None)


def current_request() -> RequestContext:
    """The exchange this code runs for; outside of any, one that nobody reads."""
    return _current.get() or RequestContext()


def bind_request(request_context: RequestContext) -> None:
    """Make `exchange` the one that this task, and every task it starts, runs for."""
    _current.set(request_context)
