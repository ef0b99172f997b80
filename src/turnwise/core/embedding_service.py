"""The embedding service port: a model that turns texts into vectors, for the server and other callers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

InputType = Literal["query", "passage", "document"]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to embed.

    Attributes:
        inputs: texts, or their token ids. Token ids get start and end tokens unless they have them, and no prefix.
        input_type: what the texts are used as, which selects the model's prefix; "document" is another word for
            "passage". None: the model's default. A model without prefixes embeds all types alike.
        truncate_prompt_tokens: shorten longer inputs to this number of tokens, at most the maximum of the model; -1 is
            that maximum. None: longer inputs are errors.
        tenant: whose request it is; tenants are served in rotation.
    """

    inputs: Sequence[str | tuple[int, ...]]
    input_type: InputType | None = None
    truncate_prompt_tokens: int | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """The vectors of a request.

    Attributes:
        vectors: one vector of length 1 per input, in order.
        prompt_tokens: number of tokens of all inputs, with prefixes and start and end tokens.
        truncated: indices of the inputs that were shortened.
    """

    vectors: Sequence[Sequence[float]]
    prompt_tokens: int
    truncated: Sequence[int] = ()


class EmbeddingService(Protocol):
    """An embedding model. `chat.embedding_service.EncoderEmbeddingService` implements it."""

    @property
    def name(self) -> str:
        """Served model name."""

    @property
    def created(self) -> int:
        """Unix time of the weights, in seconds."""

    @property
    def max_input_tokens(self) -> int:
        """Maximum number of tokens of an input."""

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None if it is not known before the first of them."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """Embed texts. Cancelling the call stops the computation after the current batch.

        Raises:
            InvalidParameter: a token id is not in the vocabulary, or `truncate_prompt_tokens` is out of range.
            ContextLengthExceeded: an input is too long and is not to be shortened.
            TurnwiseError: the computation failed.
        """


class SequenceEmbedder(Protocol):
    """Embeds sequences of token ids. `engine.encoder_engine.EncoderEngine` implements it."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""

    def batches(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Split sequences into batches that are fast to compute.

        Args:
            lengths: number of tokens of each sequence.

        Returns:
            The indices of the sequences of each batch.
        """

    def embed(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Compute one batch: a vector of length 1 per sequence, in order; may be called from any thread.

        Raises:
            TurnwiseError: the computation failed.
        """
