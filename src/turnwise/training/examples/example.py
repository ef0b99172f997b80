"""Training examples: token ids, and what the model should predict for them.

Shapes: T tokens, S encoder tokens, P segments (sequences that do not attend to each other).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

IGNORED = -100  # target without loss; PyTorch's default `ignore_index`

Labels = Mapping[str, NDArray[Any]]
"""Label arrays by name. Integers are class ids; all other values are float32."""


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: a sequence, or several segments that belong together (a preference pair).

    Language-modelling objectives predict the vocabulary ids in `targets`. Other objectives use labels: one or more
    values per token or per segment, under a name that the objective chooses. Further inputs of the model, such as
    features of words, are stored as labels too.

    Attributes:
        ids: input token ids, `(T,)` int32.
        targets: token id to predict at each position, or `IGNORED`, `(T,)` int32.
        weights: loss weight of each target, `(T,)` float32; None if all are 1.
        units: contribution to the loss denominator, such as the number of replies or pairs.
        segment_lengths: token count of each segment; () for a single segment.
        shares_first_segment: the other segments continue the first one, as several replies to a prompt do.
        token_labels: labels of tokens, `(T, …)` each.
        segment_labels: labels of segments, `(P, …)` each; of the whole text, if it is one segment.
        encoder_ids: encoder token ids, `(S,)` int32; None for decoder-only and encoder-only models.
        kl_example: example for the KL estimate (KTO); not trained on.
        ref_logprobs: reference log-probability of each segment's targets, then of `kl_example`'s.
    """

    ids: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32] | None = None
    units: float = 1
    segment_lengths: tuple[int, ...] = ()
    shares_first_segment: bool = False
    token_labels: Labels = field(default_factory=dict)
    segment_labels: Labels = field(default_factory=dict)
    encoder_ids: NDArray[np.int32] | None = None
    kl_example: "Example | None" = None
    ref_logprobs: tuple[float, ...] = ()

    @classmethod
    def causal(cls, ids: ArrayLike, mask: ArrayLike, units: float = 1, weights: ArrayLike | None = None) -> "Example":
        """Build a next-token example.

        Args:
            ids: token ids.
            mask: True for each token to predict; the first token is never predicted.
            units: contribution to the loss denominator.
            weights: loss weight of each token; None: all 1.
        """
        inputs = np.asarray(ids, dtype=np.int32)
        targets = np.full(len(inputs), IGNORED, dtype=np.int32)
        targets[:-1] = np.where(np.asarray(mask, dtype=bool)[1:], inputs[1:], IGNORED)
        shifted_weights = None
        if weights is not None:
            shifted_weights = np.ones(len(inputs), dtype=np.float32)
            shifted_weights[:-1] = np.asarray(weights)[1:]
        return cls(inputs, targets, shifted_weights, units)

    @classmethod
    def labelled(
        cls, ids: ArrayLike, *, token_labels: Labels | None = None, segment_labels: Labels | None = None
    ) -> "Example":
        """Build an example with labels and without vocabulary targets."""
        inputs = np.asarray(ids, dtype=np.int32)
        targets = np.full(len(inputs), IGNORED, dtype=np.int32)
        return cls(inputs, targets, token_labels=token_labels or {}, segment_labels=segment_labels or {})

    @property
    def target_mask(self) -> NDArray[np.bool_]:
        """True where a vocabulary id is predicted, `(T,)`."""
        mask: NDArray[np.bool_] = self.targets != IGNORED
        return mask

    @property
    def has_targets(self) -> bool:
        """True if there is anything to predict."""
        return bool(self.token_labels or self.segment_labels or self.target_mask.any())

    @property
    def size(self) -> int:
        """Number of input tokens."""
        return len(self.ids)

    @property
    def num_segments(self) -> int:
        """Number of segments."""
        return len(self.segment_lengths) or 1

    def split_windows(self, length: int) -> Iterator["Example"]:
        """Split a causal example into windows of at most `length` tokens; windows without a target are dropped."""
        if len(self.ids) <= length:
            if self.target_mask.any():
                yield self
            return
        assert not self.segment_lengths, "examples of several segments are truncated before they are joined"
        assert not self.token_labels, "objectives with labels split texts themselves"
        assert not self.segment_labels, "objectives with labels split texts themselves"
        for start in range(0, len(self.ids), length):
            window = slice(start, start + length)
            # The last target of a window is the first token of the next one, so no token loses its prediction.
            mask = self.target_mask[window]
            if mask.any():
                weights = None if self.weights is None else self.weights[window]
                # A reply that crosses a border counts as a unit in both windows: count runs of targets.
                run_starts = mask & ~np.append(False, mask[:-1])
                units = run_starts.sum() if weights is None else weights[run_starts].sum()
                yield Example(self.ids[window], self.targets[window], weights, float(units))
