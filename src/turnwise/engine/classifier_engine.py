"""Computes the label logits of token sequences: a backbone's hidden states and a linear layer on them.

Shapes: N sequences, T tokens or words of one, R tokens and W words of all, F features of a word, C hidden size,
K labels.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.engine.encoder_engine import MAX_BATCH_TOKENS, UNSUPPORTED_INT8, batch_by_length
from turnwise.engine.native.native_encoder import NativeEncoder, library_for_encoder
from turnwise.engine.native.structs import Pooling
from turnwise.models.classifier import ClassificationHead
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.encoder import Encoder
from turnwise.models.encoder_weights import EncoderWeights

NOT_FINITE = "The classifier produced numbers that are not finite; its weights are damaged."

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
        """Logits of the labels of texts, `(N, K)`; see `models/classifier_outputs.py`.

        A text has the same logits to the last bit alone and in any batch.
        """
        hidden_RC = self._hidden(sequences)
        ends = np.cumsum([*map(len, sequences)])
        linear = self._head.linear
        weight_KC, bias_K = linear.weight.detach().numpy(), linear.bias.detach().numpy()
        logits = []
        with np.errstate(invalid="ignore", over="ignore"):
            # Text by text: a product of matrices adds up in another order if it has one row. By einsum: BLAS libraries
            # and torch would start threads for it, which wait busily for a while and slow down those of the encoder.
            for hidden_TC in np.split(hidden_RC, ends[:-1]):
                vector_C = _pool(hidden_TC, self.config.pooling)
                logits.append(np.einsum("kc,c->k", weight_KC, vector_C) + bias_K)
        logits_NK: FloatArray = np.stack(logits)
        if not np.isfinite(logits_NK).all():
            raise TurnwiseError(NOT_FINITE)
        return logits_NK

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
        hidden_RC = torch.from_numpy(self._hidden(sequences))
        starts = np.cumsum([0, *map(len, sequences)])
        rows_W = torch.tensor([int(s) + index for s, indices in zip(starts, words, strict=False) for index in indices])
        lengths = [len(indices) for indices in words]
        results = []
        with torch.no_grad():
            features_WF = None if features is None else torch.from_numpy(features)
            logits_WK = self._head(hidden_RC[rows_W], features_WF, lengths)
            if not logits_WK.isfinite().all():
                raise TurnwiseError(NOT_FINITE)
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

    def _hidden(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        """Hidden states of all tokens, `(R, C)`."""
        with self._lock:
            return self._hidden_states(sequences)


def _pool(hidden_TC: FloatArray, pooling: str) -> FloatArray:
    """One vector for a text, as `models.classifier.pool_texts` does.

    By numpy: torch's `index_add` starts threads for every token, which costs more than the sum.
    """
    if pooling == "mean":
        vector_C: FloatArray = hidden_TC.mean(axis=0)
    else:
        vector_C = hidden_TC[0 if pooling == "first" else -1]
    return vector_C


def encoder_hidden_states(
    weights: EncoderWeights, *, is_int8: bool = False, threads: int | None = None
) -> HiddenStates:
    """The hidden states of an encoder: by the compiled library, or by torch where it is missing.

    Raises:
        InvalidParameter: `is_int8` without the compiled library.
    """
    if library_for_encoder(weights.config) is not None:
        native = NativeEncoder(weights, is_int8=is_int8, threads=threads)
        return lambda sequences: native.forward(sequences, Pooling.NONE)
    if is_int8:
        raise InvalidParameter("quantize", UNSUPPORTED_INT8)
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
