"""An embedding service: tokenizes texts and embeds them with an encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from turnwise.chat.stepwise_executor import StepwiseExecutor
from turnwise.core.embedding_service import EmbeddingRequest, EmbeddingResult, SequenceEmbedder
from turnwise.core.errors import InvalidParameter
from turnwise.core.steps import Steps
from turnwise.text.tokenization.embedding_tokenizer import EmbeddingTokenizer

TOKENIZED_PER_STEP = 64  # inputs


@dataclass(frozen=True, slots=True)
class EncoderEmbeddingService:
    """Embeds texts with an encoder (implements `core.embedding_service.EmbeddingService`).

    Requests are computed in batches. Between batches the turn passes to the requests of other tenants.
    """

    name: str
    created: int
    tokenizer: EmbeddingTokenizer
    embedder: SequenceEmbedder
    executor: StepwiseExecutor = field(default_factory=lambda: StepwiseExecutor("embeddings"))

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
        return await self.executor.run(request.tenant, self._embed_in_steps(request))

    def _embed_in_steps(self, request: EmbeddingRequest) -> Steps[EmbeddingResult]:
        """A step tokenizes some of the inputs, or computes a batch."""
        self.tokenizer.max_ids(request.truncate_prompt_tokens)  # an invalid value is an error whatever the inputs are
        sequences: list[list[int]] = []
        truncated: list[int] = []
        for number, prompt in enumerate(request.inputs):
            if number and number % TOKENIZED_PER_STEP == 0:
                yield
            if not isinstance(prompt, str):
                self._check_ids(prompt)
            ids, is_truncated = self.tokenizer.encode(prompt, request.input_type, request.truncate_prompt_tokens)
            if is_truncated:
                truncated.append(number)
            sequences.append(ids)
        vectors: list[list[float]] = [[]] * len(sequences)
        for indices in self.embedder.batches([len(ids) for ids in sequences]):
            yield
            batch = self.embedder.embed([sequences[index] for index in indices])
            for index, vector in zip(indices, batch, strict=True):
                vectors[index] = vector
        return EmbeddingResult(vectors, sum(map(len, sequences)), truncated)

    def _check_ids(self, ids: Sequence[int]) -> None:
        size = self.embedder.vocab_size
        if (invalid := next((id for id in ids if not 0 <= id < size), None)) is not None:
            raise InvalidParameter("input", f"The token id {invalid} does not exist; ids are 0 to {size - 1}.")
