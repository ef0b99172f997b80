"""Attention weights of requests: one computation at a time, in a thread of its own."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from turnwise.chat.fair_turns import FairTurns
from turnwise.chat.stepwise_executor import StepwiseExecutor
from turnwise.core.attention import MAX_ATTENTION_TOKENS, AttentionComputer, AttentionQuery, AttentionWeights
from turnwise.core.errors import InvalidParameter
from turnwise.core.inference import GenerationRequest

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

NUM_CACHED = 4  # computations: all layers and heads of one place, a few megabytes
RELEASE_SECONDS = 120.0  # after the last computation, the weights that it needs are freed


class AttentionReader:
    """Reads the attention of the last token of prompts.

    All layers and heads of a prompt are computed at once and cached, so that other ones of the same prompt need no
    computation. Tenants take turns, and share no cached results.
    """

    def __init__(self, select: Callable[[GenerationRequest], AttentionComputer]) -> None:
        """Read the attention of the model that `select` returns for a request."""
        self._select = select
        self._turns, self._executor = FairTurns(), StepwiseExecutor("attention")
        self._cached: OrderedDict[object, NDArray[float32]] = OrderedDict()
        self._releases: dict[AttentionComputer, asyncio.TimerHandle] = {}

    async def read(self, request: GenerationRequest, query: AttentionQuery) -> AttentionWeights:
        """The weights that the last token of the prompt gives each token. Cancelling the call ends the computation.

        Raises:
            InvalidParameter: the model has no such layer or head, or the prompt is too long.
            Unavailable: the files of the model have changed.
        """
        ids = request.prompt_ids
        if len(ids) > MAX_ATTENTION_TOKENS:
            raise InvalidParameter(
                "messages",
                f"Attention can be shown for at most {MAX_ATTENTION_TOKENS:,} tokens, and these messages have "
                f"{len(ids):,}.",
            )
        computer = self._select(request)
        _check_index("layer", query.layer, computer.num_layers)
        _check_index("head", query.head, computer.num_heads)
        weights_NHT = await self._compute(computer, request)
        layer = computer.num_layers - 1 if query.layer is None else query.layer
        weights_HT = weights_NHT[layer]
        weights_T = weights_HT.mean(axis=0) if query.head is None else weights_HT[query.head]
        return AttentionWeights(
            ids, tuple(weights_T.tolist()), layer, query.head, computer.num_layers, computer.num_heads
        )

    async def _compute(self, computer: AttentionComputer, request: GenerationRequest) -> "NDArray[float32]":
        tenant = request.scheduling.tenant
        key = (computer, tenant, request.scope, request.prompt_ids)
        async with self._turns.turn(tenant):  # the hidden states of several long prompts would be in memory
            if key in self._cached:
                self._cached.move_to_end(key)
            else:
                self._cached[key] = await self._run(computer, request)
                while len(self._cached) > NUM_CACHED:
                    self._cached.popitem(last=False)
            return self._cached[key]

    async def _run(self, computer: AttentionComputer, request: GenerationRequest) -> "NDArray[float32]":
        if (release := self._releases.pop(computer, None)) is not None:
            release.cancel()
        try:
            return await self._executor.run(request.scheduling.tenant, computer.compute(request.prompt_ids))
        finally:
            loop = asyncio.get_running_loop()
            self._releases[computer] = loop.call_later(RELEASE_SECONDS, computer.release)


def _check_index(name: str, index: int | None, count: int) -> None:
    if index is not None and index >= count:
        raise InvalidParameter(name, f"'{name}' must be from 0 to {count - 1} for this model, got {index}.")
