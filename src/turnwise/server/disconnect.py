"""Noticing that a client has left, so that nobody computes an answer that nobody reads."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

Result = TypeVar("Result")


class ClientDisconnected(Exception):
    """The client closed the connection before its answer was ready."""


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled, and waited for, as soon as the client leaves.

    Frameworks cancel streams but not plain handlers, so both kinds of answer go through here. The request's body must
    have been read before. Raises `ClientGone`, or whatever `work` raises.
    """
    work_task, disconnected = asyncio.ensure_future(work), asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((work_task, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if work_task.done():
            return work_task.result()
        raise ClientDisconnected
    finally:
        work_task.cancel()
        disconnected.cancel()
        await asyncio.gather(work_task, disconnected, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
