"""An embedding service: tokenizes texts and embeds them with an encoder."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from turnwise.core.embedding_service import EmbeddingCancelled, EmbeddingRequest, EmbeddingResult, SequenceEmbedder
from turnwise.core.errors import InvalidParameter
from turnwise.text.tokenization.embedding_tokenizer import EmbeddingTokenizer

NUM_THREADS = 4  # requests that are tokenized and computed at the same time; their batches take turns


def _create_executor() -> ThreadPoolExecutor:
    """Threads of their own: long requests must not hold up the default pool, which tokenizes chats."""
    return ThreadPoolExecutor(NUM_THREADS, "turnwise-embeddings")


@dataclass(frozen=True, slots=True)
class EncoderEmbeddingService:
    """Embeds texts with an encoder (implements `core.embedding_service.EmbeddingService`)."""

    name: str
    created: int
    tokenizer: EmbeddingTokenizer
    embedder: SequenceEmbedder
    executor: ThreadPoolExecutor = field(default_factory=_create_executor)

    @property
    def max_input_tokens(self) -> int:
        """Maximum number of tokens of an input, start and end tokens included."""
        return self.tokenizer.max_length

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """Embed texts in a thread. Errors as for `EmbeddingService.embed`."""
        cancelled = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self.executor, self._embed, request, cancelled)
        finally:
            cancelled.set()  # the thread of a cancelled call stops after its batch

    def _embed(self, request: EmbeddingRequest, cancelled: threading.Event) -> EmbeddingResult:
        self.tokenizer.max_ids(request.truncate_to)  # an invalid value is an error whatever the inputs are
        sequences, truncated = [], []
        for number, prompt in enumerate(request.inputs):
            if cancelled.is_set():
                raise EmbeddingCancelled
            if not isinstance(prompt, str):
                self._check_ids(prompt)
            ids, is_truncated = self.tokenizer.encode(prompt, request.input_type, request.truncate_to)
            sequences.append(ids)
            if is_truncated:
                truncated.append(number)
        vectors = self.embedder.embed(sequences, cancelled)
        return EmbeddingResult(vectors, sum(map(len, sequences)), truncated)

    def _check_ids(self, ids: Sequence[int]) -> None:
        size = self.embedder.vocab_size
        if (invalid := next((id for id in ids if not 0 <= id < size), None)) is not None:
            raise InvalidParameter("input", f"The token id {invalid} does not exist; ids are 0 to {size - 1}.")
