"""A classifier of tokens or of texts: any language model with a linear layer on its hidden states.

Shapes: B rows, T tokens in a row, N tokens or words, P texts, C hidden size, F features of a word, K logits: one per
label, and one for texts of no label if there is a `none_label`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from turnwise.core.errors import UserError
from turnwise.core.system_memory import check_fits
from turnwise.core.word_vectors import WordVectors
from turnwise.models.classifier_config import (
    CLASSIFIER_CONFIG_FILE,
    CLASSIFIER_WEIGHTS_FILE,
    WORDS_FILE,
    ClassifierConfig,
    read_classifier_config,
)
from turnwise.models.dropout import Dropout
from turnwise.models.language_model import LanguageModel, ModelKind
from turnwise.models.linear_chain_crf import LinearChainCrf
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.models.sparse_word_features import SparseWordFeatures
from turnwise.models.word_features import WordFeatureEmbedding, WordLstm


class ClassificationHead(nn.Module):
    """Dropout and a linear layer to one logit per label, and one for texts of none if the config has a `none_label`.

    A head for words may have further inputs, the features of the words; an LSTM before the linear layer; sparse
    features whose weights are added to the logits (wide and deep, Cheng et al. 2016); and a CRF.

    Args:
        config: labels and switches.
        hidden_size: C.
        dropout: probability of dropping an input of the linear layer in training.
    """

    def __init__(self, config: ClassifierConfig, hidden_size: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        size = hidden_size
        self.word_features: WordFeatureEmbedding | None = None
        if config.has_word_features:
            self.word_features = WordFeatureEmbedding(config.num_word_vectors, config.word_vector_size)
            size += self.word_features.size
        self.lstm: WordLstm | None = None
        if config.lstm_size:
            self.lstm = WordLstm(size, config.lstm_size)
            size = self.lstm.size
        self.linear = nn.Linear(size, config.num_logits)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        self.sparse_features = SparseWordFeatures(config.num_logits) if config.has_sparse_features else None
        self.crf: LinearChainCrf | None = None
        if config.has_crf:
            can_follow = [[config.can_follow(first, second) for second in config.labels] for first in config.labels]
            self.crf = LinearChainCrf(torch.tensor(can_follow), torch.tensor([*map(config.can_start, config.labels)]))

    def forward(
        self, hidden_NC: Tensor, features_NF: Tensor | None = None, lengths: Sequence[int] | None = None
    ) -> Tensor:
        """Logits `(N, K)`.

        Args:
            hidden_NC: hidden states of texts, or of words at their first token.
            features_NF: features of the words, if the head uses them.
            lengths: number of words of each sentence, if the head has an LSTM or sparse features.
        """
        x_NC = hidden_NC
        if self.word_features is not None:
            assert features_NF is not None, "the caller encodes the words"
            x_NC = torch.cat([x_NC, self.word_features(features_NF)], dim=1)
        x_NC = self.dropout(x_NC)
        if self.lstm is not None:
            assert lengths is not None, "the caller knows the sentences"
            x_NC = self.dropout(self.lstm(x_NC, lengths))
        logits_NK: Tensor = self.linear(x_NC)
        if self.sparse_features is not None:
            assert features_NF is not None, "the caller encodes the words"
            assert lengths is not None, "the caller knows the sentences"
            logits_NK = logits_NK + self.sparse_features(features_NF, lengths)
        return logits_NK


@dataclass
class Classifier:
    """A language model with a classification head (implements `LanguageModel`).

    Attributes:
        backbone: computes the hidden states.
        head: computes the logits of the labels.
        config: the labels.
        hf_config: contents of the backbone's `config.json`.
        words: the words of the head's word vectors.
    """

    backbone: LanguageModel
    head: ClassificationHead
    config: ClassifierConfig
    words: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.hf_config = self.backbone.hf_config

    @cached_property
    def module(self) -> nn.Module:
        """Backbone and head."""
        return nn.ModuleDict({"backbone": self.backbone.module, "head": self.head})

    @property
    def kind(self) -> ModelKind:
        """The kind of the backbone."""
        return self.backbone.kind

    @property
    def supports_packing(self) -> bool:
        """True if a row may hold several texts."""
        return self.backbone.supports_packing

    @property
    def embedding(self) -> nn.Module:
        """The token embedding."""
        return self.backbone.embedding

    @property
    def context_length(self) -> int:
        """Maximum number of tokens in a text."""
        return self.backbone.context_length

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.backbone.vocab_size

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """None: `logits` predicts no tokens."""
        return []

    @property
    def decoder_start_ids(self) -> tuple[int, ...]:
        """None."""
        return ()

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Logits of the labels, `(N, K)`."""
        logits_NK: Tensor = self.head(hidden_NC)
        return logits_NK

    def hidden_states(
        self,
        ids_BT: Tensor,
        logits_mask_BT: Tensor,
        *,
        segment_ids_BT: Tensor,
        positions_BT: Tensor,
        encoder_ids_BS: Tensor | None = None,
        encoder_mask_BS: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of the backbone."""
        return self.backbone.hidden_states(
            ids_BT, logits_mask_BT, segment_ids_BT=segment_ids_BT, positions_BT=positions_BT,
            encoder_ids_BS=encoder_ids_BS, encoder_mask_BS=encoder_mask_BS,
        )  # fmt: skip

    def word_logits(
        self,
        ids_BT: Tensor,
        is_word_BT: Tensor,
        segment_ids_BT: Tensor,
        positions_BT: Tensor,
        features_NF: Tensor | None = None,
    ) -> Tensor:
        """Logits `(N, K)` of the words whose first tokens are in `is_word_BT`, row by row.

        Args:
            ids_BT: token ids.
            is_word_BT: True for the first token of every word to tag.
            segment_ids_BT: number of each token's sequence, from 1; 0 is padding.
            positions_BT: position of each token in its sequence.
            features_NF: features of the words, if the head uses them.
        """
        hidden_NC = self.hidden_states(ids_BT, is_word_BT, segment_ids_BT=segment_ids_BT, positions_BT=positions_BT)
        lengths = torch.bincount(segment_ids_BT[is_word_BT].long())
        logits_NK: Tensor = self.head(hidden_NC, features_NF, lengths[lengths > 0].tolist())
        return logits_NK

    def text_vectors(self, ids_BT: Tensor, segment_ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """Pooled hidden states `(P, C)` of the texts, in the order of their segment ids."""
        is_token_BT = segment_ids_BT > 0
        hidden_NC = self.hidden_states(ids_BT, is_token_BT, segment_ids_BT=segment_ids_BT, positions_BT=positions_BT)
        text_N = segment_ids_BT[is_token_BT].long() - 1
        return pool_texts(hidden_NC, text_N, self.config.pooling)

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write the backbone's files, the head and `classifier.json` into a new folder."""
        self.backbone.save(folder, dtype=dtype, hf_config=hf_config)
        self.save_head(folder)

    def save_head(self, folder: Path) -> None:
        """Write the head, its words and `classifier.json` into a new folder."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}
        save_safetensors(state, folder / CLASSIFIER_WEIGHTS_FILE)
        if self.words:
            (folder / WORDS_FILE).write_text("\n".join(self.words) + "\n", encoding="utf-8")
        self.config.save(folder)


def pool_texts(hidden_NC: Tensor, text_N: Tensor, pooling: str) -> Tensor:
    """One vector per text, `(P, C)`, from the hidden states of all tokens.

    Args:
        hidden_NC: hidden states, text by text.
        text_N: number of the text that a token is from, from 0.
        pooling: "mean", "first" or "last" token of every text.
    """
    lengths_P = torch.bincount(text_N)
    ends_P = lengths_P.cumsum(0)
    if pooling == "first":
        return hidden_NC[ends_P - lengths_P]
    if pooling == "last":
        return hidden_NC[ends_P - 1]
    sums_PC = hidden_NC.new_zeros(len(lengths_P), hidden_NC.shape[1]).index_add(0, text_N, hidden_NC)
    return sums_PC / lengths_P[:, None]


def add_classifier(
    model: LanguageModel, config: ClassifierConfig, dropout: float, seed: int, vectors: WordVectors | None = None
) -> Classifier:
    """Return the model with a new head on its hidden states. The same seed gives the same weights.

    Args:
        model: the backbone.
        config: labels and parts of the head; the shape of the word vectors is added.
        dropout: of the head.
        seed: of the new weights.
        vectors: word vectors, if the head uses them.
    """
    if vectors is not None:
        num_vectors, vector_size = vectors.table_VD.shape
        config = replace(config, num_word_vectors=num_vectors, word_vector_size=vector_size)
    embedding_VC = model.embedding.weight
    assert isinstance(embedding_VC, Tensor)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        head = ClassificationHead(config, embedding_VC.shape[1], dropout)
    if vectors is not None:
        assert head.word_features is not None, "the caller checked it"
        head.word_features.vectors_VD.copy_(torch.from_numpy(vectors.table_VD))
    return Classifier(model, head, config, () if vectors is None else vectors.words)


def load_head(folder: Path, hidden_size: int) -> tuple[ClassificationHead, ClassifierConfig]:
    """Load the head of the classifier in a folder.

    Raises:
        UserError: a file is missing or damaged, or the head is for another hidden size or number of labels.
    """
    config = read_classifier_config(folder)
    file = SafetensorsFile(folder / CLASSIFIER_WEIGHTS_FILE)
    with torch.device("meta"):  # nothing is allocated before the shapes are known to be those of the file
        expected = {name: tuple(t.shape) for name, t in ClassificationHead(config, hidden_size).state_dict().items()}
    stored = {name: tuple(header.shape) for name, header in file.tensors.items()}
    if differing := sorted(name for name in stored.keys() | expected.keys() if stored.get(name) != expected.get(name)):
        name = differing[0]
        raise UserError(
            f"{file.path} does not belong to its {CLASSIFIER_CONFIG_FILE}: '{name}' has the shape {stored.get(name)} "
            f"instead of {expected.get(name)}."
        )
    check_fits(4 * sum(math.prod(shape) for shape in expected.values()), f"The classifier in {folder}")
    head = ClassificationHead(config, hidden_size)
    head.load_state_dict({name: file.read(name).float() for name in expected})
    return head, config
