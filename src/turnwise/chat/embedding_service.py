"""An embedding service: tokenizes texts and embeds them with an encoder."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from turnwise.chat.fair_turns import FairTurns
from turnwise.core.embedding_service import EmbeddingRequest, EmbeddingResult, SequenceEmbedder
from turnwise.core.errors import InvalidParameter
from turnwise.text.tokenization.embedding_tokenizer import EmbeddingTokenizer

T = TypeVar("T")
TOKENIZED_PER_TURN = 64  # inputs


def _create_executor() -> ThreadPoolExecutor:
    """A thread of its own: long requests must not delay the default pool, which tokenizes chats."""
    return ThreadPoolExecutor(1, "turnwise-embeddings")


@dataclass(frozen=True, slots=True)
class EncoderEmbeddingService:
    """Embeds texts with an encoder (implements `core.embedding_service.EmbeddingService`).

    Requests are computed in batches. Between batches the turn passes to the requests of other tenants.
    """

    name: str
    created: int
    tokenizer: EmbeddingTokenizer
    embedder: SequenceEmbedder
    executor: ThreadPoolExecutor = field(default_factory=_create_executor)
    turns: FairTurns = field(default_factory=FairTurns)

    @property
    def max_input_tokens(self) -> int:
        """Maximum number of tokens of an input, start and end tokens included."""
        return self.tokenizer.max_length

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self.embedder.dimension

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """Embed texts in a thread. Errors as for `EmbeddingService.embed`."""
        self.tokenizer.max_ids(request.truncate_prompt_tokens)  # an invalid value is an error whatever the inputs are
        sequences: list[list[int]] = []
        truncated: list[int] = []
        for inputs in _chunks(request.inputs, TOKENIZED_PER_TURN):
            for ids, is_truncated in await self._in_turn(request.tenant, partial(self._encode, inputs, request)):
                if is_truncated:
                    truncated.append(len(sequences))
                sequences.append(ids)
        vectors: list[list[float]] = [[]] * len(sequences)
        for indices in self.embedder.batches([len(ids) for ids in sequences]):
            compute = partial(self.embedder.embed, [sequences[index] for index in indices])
            for index, vector in zip(indices, await self._in_turn(request.tenant, compute), strict=True):
                vectors[index] = vector
        return EmbeddingResult(vectors, sum(map(len, sequences)), truncated)

    async def _in_turn(self, tenant: str, compute: Callable[[], T]) -> T:
        async with self.turns.turn(tenant):
            return await asyncio.get_running_loop().run_in_executor(self.executor, compute)

    def _encode(
        self, inputs: Sequence[str | tuple[int, ...]], request: EmbeddingRequest
    ) -> list[tuple[list[int], bool]]:
        """Ids of each input, and whether it was truncated."""
        for prompt in inputs:
            if not isinstance(prompt, str):
                self._check_ids(prompt)
        return [self.tokenizer.encode(prompt, request.input_type, request.truncate_prompt_tokens) for prompt in inputs]

    def _check_ids(self, ids: Sequence[int]) -> None:
        size = self.embedder.vocab_size
        if (invalid := next((id for id in ids if not 0 <= id < size), None)) is not None:
            raise InvalidParameter("input", f"The token id {invalid} does not exist; ids are 0 to {size - 1}.")


def _chunks(inputs: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    yield from (inputs[start : start + size] for start in range(0, len(inputs), size))
