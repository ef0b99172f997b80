"""A thread that computes requests in steps, and passes between tenants after every step."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from turnwise.chat.fair_turns import FairTurns
from turnwise.core.steps import Steps

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Finished(Generic[Result]):
    """Returned by the last step: an asyncio future cannot carry a StopIteration."""

    result: Result


class StepwiseExecutor:
    """Runs computations of several tenants in one thread.

    The thread is its own, because long requests must not delay the default pool, which tokenizes chats.
    """

    def __init__(self, name: str) -> None:
        """Create the executor; its thread starts with the first computation. `name` is used in the thread's name."""
        self._executor, self._turns = ThreadPoolExecutor(1, f"turnwise-{name}"), FairTurns()

    async def run(self, tenant: str, steps: Steps[Result]) -> Result:
        """Compute all steps; before each of them, waiting tenants are served in rotation.

        Cancelling the call stops the computation after the current step. Exceptions of the steps pass through.
        """
        while True:
            async with self._turns.turn(tenant):
                finished = await asyncio.get_running_loop().run_in_executor(self._executor, _advance, steps)
            if finished is not None:
                return finished.result


def _advance(steps: Steps[Result]) -> _Finished[Result] | None:
    try:
        next(steps)
    except StopIteration as stop:
        return _Finished(stop.value)
    return None
