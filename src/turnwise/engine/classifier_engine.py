"""Computes the label logits of token sequences: a backbone's hidden states and a linear layer on them.

Shapes: N sequences, T words of one, R tokens and W words of all, F features of a word, C hidden size, K labels, L
logits (see `models/classifier_outputs.py`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from turnwise.core.errors import TurnwiseError
from turnwise.engine.encoder_engine import MAX_BATCH_TOKENS, batch_by_length
from turnwise.engine.native.native_encoder import NativeEncoder, library_for_encoder
from turnwise.engine.native.structs import Pooling
from turnwise.models.classifier import ClassificationHead, pool_texts
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.encoder import Encoder
from turnwise.models.encoder_weights import EncoderWeights

FloatArray = NDArray[np.float32]
HiddenStates = Callable[[Sequence[Sequence[int]]], FloatArray]
"""Hidden states `(R, C)` of token sequences, one sequence after the other."""


class ClassifierEngine:
    """Computes logits and tags; thread-safe, one batch at a time. Raises `TurnwiseError` if they are not finite.

    Args:
        hidden_states: computes the backbone's hidden states.
        head: the classification head.
        config: the labels.
    """

    def __init__(self, hidden_states: HiddenStates, head: ClassificationHead, config: ClassifierConfig) -> None:
        self.config, self._hidden_states, self._head = config, hidden_states, head.eval()
        self._lock = threading.Lock()

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Batches of similar length, the longest first; see `batch_by_length`."""
        return batch_by_length(lengths, MAX_BATCH_TOKENS)

    def text_logits(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        """Logits of texts, `(N, L)`; see `models/classifier_outputs.py`."""
        hidden_RC, text_R = self._hidden(sequences)
        with torch.inference_mode():
            logits_NL: FloatArray = self._logits(pool_texts(hidden_RC, text_R, self.config.pooling)).numpy()
        return logits_NL

    def tags(
        self,
        sequences: Sequence[Sequence[int]],
        words: Sequence[Sequence[int]],
        features: NDArray[np.int32] | None = None,
    ) -> list[tuple[list[int], list[float]]]:
        """The tag of every word and its probability.

        Args:
            sequences: token ids.
            words: for each sequence the indices of the tokens that stand for its words, at least one.
            features: features of all words, `(W, F)`, if the classifier uses them.
        """
        hidden_RC, _ = self._hidden(sequences)
        starts = np.cumsum([0, *map(len, sequences)])
        rows_W = torch.tensor([int(s) + index for s, indices in zip(starts, words, strict=False) for index in indices])
        lengths = [len(indices) for indices in words]
        results = []
        with torch.no_grad():
            features_WF = None if features is None else torch.from_numpy(features)
            logits_WK = self._logits(hidden_RC[rows_W], features_WF, lengths)
            for logits_TK in torch.split(logits_WK, lengths):
                if self._head.crf is None:
                    tags, probabilities_TK = (
                        logits_TK.argmax(dim=1),
                        (logits_TK / self.config.temperature).softmax(dim=1),
                    )
                else:
                    mask_1T = torch.ones(1, len(logits_TK), dtype=torch.bool)
                    tags = torch.tensor(self._head.crf.decode(logits_TK[None], mask_1T)[0])
                    probabilities_TK = self._head.crf.marginals(logits_TK[None], mask_1T)[0]
                results.append((tags.tolist(), probabilities_TK.gather(1, tags[:, None])[:, 0].tolist()))
        return results

    def _logits(
        self, vectors: torch.Tensor, features: torch.Tensor | None = None, lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        logits: torch.Tensor = self._head(vectors, features, lengths)
        if not logits.isfinite().all():
            raise TurnwiseError("The classifier produced numbers that are not finite; its weights are damaged.")
        return logits

    def _hidden(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states of all tokens, and the number of each token's sequence."""
        with self._lock:
            hidden_RC = torch.from_numpy(self._hidden_states(sequences))
        lengths = torch.tensor([len(ids) for ids in sequences])
        return hidden_RC, torch.repeat_interleave(torch.arange(len(sequences)), lengths)


def encoder_hidden_states(
    weights: EncoderWeights, *, is_int8: bool = False, threads: int | None = None
) -> HiddenStates:
    """The hidden states of an encoder: by the compiled library, or by torch where it is missing."""
    if library_for_encoder(weights.config) is not None:
        native = NativeEncoder(weights, is_int8=is_int8, threads=threads)
        return lambda sequences: native.forward(sequences, Pooling.NONE)
    encoder = Encoder(weights)

    def hidden_states(sequences: Sequence[Sequence[int]]) -> FloatArray:
        states: FloatArray = torch.cat([encoder.hidden_states(torch.tensor(ids)) for ids in sequences]).numpy()
        return states

    return hidden_states


def decoder_hidden_states(model: DecoderModel) -> HiddenStates:
    """The hidden states of a decoder, by torch."""

    def hidden_states(sequences: Sequence[Sequence[int]]) -> FloatArray:
        with torch.inference_mode():
            states = [model.decoder(torch.tensor([list(ids)]))[0].float() for ids in sequences]
        result: FloatArray = torch.cat(states).numpy()
        return result

    return hidden_states
