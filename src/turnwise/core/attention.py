"""Attention weights of a model: which tokens of the context the last one attends to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from turnwise.core.steps import Steps

if TYPE_CHECKING:  # numpy is slow to import, and the command line imports this module
    from numpy import float32
    from numpy.typing import NDArray

MAX_ATTENTION_TOKENS = 4096
NO_ATTENTION = (
    "The attention of this model cannot be shown: only decoders that Turnwise computes itself have weights for it, not "
    "encoder-decoders and models that transformers computes."
)


@dataclass(frozen=True, slots=True)
class AttentionQuery:
    """Which weights to return.

    Attributes:
        layer: index of the layer; None: the last one.
        head: index of the head; None: the mean of all heads.
    """

    layer: int | None = None
    head: int | None = None


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """What the last token of a context attends to.

    Attributes:
        token_ids: the context, with the last token.
        weights: the weight of each token; their sum is 1.
        layer: index of the layer.
        head: index of the head; None: the mean of all heads.
        num_layers: number of layers.
        num_heads: number of heads per layer.
    """

    token_ids: tuple[int, ...]
    weights: tuple[float, ...]
    layer: int
    head: int | None
    num_layers: int
    num_heads: int


class AttentionComputer(Protocol):
    """Computes the attention of one model."""

    @property
    def num_layers(self) -> int:
        """Number of layers."""

    @property
    def num_heads(self) -> int:
        """Number of heads per layer."""

    def compute(self, ids: tuple[int, ...]) -> "Steps[NDArray[float32]]":
        """Weights of the last token, by layer, head and token.

        Raises:
            Unavailable: the files of the model have changed.
        """

    def release(self) -> None:
        """Free the weights, until the next computation."""
