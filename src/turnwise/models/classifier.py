"""A classifier of tokens or of texts: any language model with a linear layer on its hidden states.

Shapes: B rows, T tokens in a row, N tokens, P texts, C hidden size, K labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from turnwise.core.errors import UserError
from turnwise.models.classifier_config import CLASSIFIER_WEIGHTS_FILE, ClassifierConfig, read_classifier_config
from turnwise.models.language_model import LanguageModel, ModelKind
from turnwise.models.linear_chain_crf import LinearChainCrf
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors


class ClassificationHead(nn.Module):
    """Dropout, a linear layer to one logit per label, and a CRF if the config has one.

    Args:
        config: labels and switches.
        hidden_size: C.
        dropout: probability of dropping an input of the linear layer in training.
    """

    def __init__(self, config: ClassifierConfig, hidden_size: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, len(config.labels))
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        self.crf: LinearChainCrf | None = None
        if config.has_crf:
            can_follow = [[config.can_follow(first, second) for second in config.labels] for first in config.labels]
            self.crf = LinearChainCrf(torch.tensor(can_follow), torch.tensor([*map(config.can_start, config.labels)]))

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits `(..., K)` from hidden states `(..., C)`."""
        logits: Tensor = self.linear(self.dropout(hidden))
        return logits


@dataclass
class Classifier:
    """A language model with a classification head (implements `LanguageModel`).

    Attributes:
        backbone: computes the hidden states.
        head: computes the logits of the labels.
        config: the labels.
        hf_config: contents of the backbone's `config.json`.
    """

    backbone: LanguageModel
    head: ClassificationHead
    config: ClassifierConfig

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

    def token_logits(
        self, ids_BT: Tensor, is_labelled_BT: Tensor, segment_ids_BT: Tensor, positions_BT: Tensor
    ) -> Tensor:
        """Logits `(N, K)` of the tokens in `is_labelled_BT`, row by row."""
        return self.logits(
            self.hidden_states(ids_BT, is_labelled_BT, segment_ids_BT=segment_ids_BT, positions_BT=positions_BT)
        )

    def text_logits(self, ids_BT: Tensor, segment_ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """Logits `(P, K)` of the texts, in the order of their segment ids."""
        is_token_BT = segment_ids_BT > 0
        hidden_NC = self.hidden_states(ids_BT, is_token_BT, segment_ids_BT=segment_ids_BT, positions_BT=positions_BT)
        text_N = segment_ids_BT[is_token_BT].long() - 1
        return self.logits(pool_texts(hidden_NC, text_N, self.config.pooling))

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write the backbone's files, the head and `classifier.json` into a new folder."""
        self.backbone.save(folder, dtype=dtype, hf_config=hf_config)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}
        save_safetensors(state, folder / CLASSIFIER_WEIGHTS_FILE)
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


def add_classifier(model: LanguageModel, config: ClassifierConfig, dropout: float, seed: int) -> Classifier:
    """Return the model with a new head on its hidden states. The same seed gives the same weights."""
    embedding_VC = model.embedding.weight
    assert isinstance(embedding_VC, Tensor)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return Classifier(model, ClassificationHead(config, embedding_VC.shape[1], dropout), config)


def load_head(folder: Path, hidden_size: int) -> tuple[ClassificationHead, ClassifierConfig]:
    """Load the head of the classifier in a folder.

    Raises:
        UserError: a file is missing or damaged, or the head is for another hidden size or number of labels.
    """
    config = read_classifier_config(folder)
    head = ClassificationHead(config, hidden_size)
    file = SafetensorsFile(folder / CLASSIFIER_WEIGHTS_FILE)
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    stored = {name: tuple(header.shape) for name, header in file.tensors.items()}
    if stored != expected:
        raise UserError(f"{file.path} holds the tensors {stored}, and the classifier has {expected}.")
    head.load_state_dict({name: file.read(name).float() for name in expected})
    return head, config
