"""Prompt tuning: train a few embedding vectors before every dialogue (Lester et al. 2021).

The vectors are embeddings of new special tokens with which the chat template starts. The result is an ordinary model
folder with a slightly larger vocabulary, so training, evaluation and serving use the same token ids.

Shapes: V vocabulary size, C hidden size.
"""

import copy
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.core.errors import InvalidParameter
from turnwise.models.classifier import Classifier
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.language_model import LanguageModel
from turnwise.models.transformers_model import TransformersModel
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training import method
from turnwise.training.export import DEFAULT_GENERATION
from turnwise.training.model_bundle import ModelBundle

SUPPRESS_KEY = "suppress_tokens"  # key in generation_config.json: tokens that are never generated


class PromptTuningMethod(method.Method):
    """Trains virtual tokens; the model is frozen.

    Attributes:
        num_virtual_tokens: number of virtual tokens.
        init_text: text whose token embeddings initialize them; default: embeddings of random tokens.
    """

    SUMMARY: ClassVar[str] = "train a soft prompt, freeze the model"

    num_virtual_tokens: int = Field(20, ge=1)
    init_text: str | None = None

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:
        """Freeze the model and add the virtual tokens to its tokenizer, template and embedding."""
        texts = [f"<|soft_{number}|>" for number in range(self.num_virtual_tokens)]
        if base.tokenizer.token_to_id(texts[0]) is not None:
            raise InvalidParameter(
                "method",
                "This model has virtual tokens already, which new ones would replace: start from its base model.",
            )
        tokenizer = base.tokenizer.with_special_tokens(texts)
        template = "{{- '" + "".join(texts) + "' -}}" + base.renderer.chat_template
        tokenizer = tokenizer.with_chat_template(template)
        first = tokenizer.token_to_id(texts[0])
        assert first is not None, "just added"
        module = base.model.module
        module.requires_grad_(False)
        embedding: Any = base.model.embedding
        vectors = embedding.weight[self._initial_ids(base.tokenizer, seed)].detach().clone()
        _set_embedding(base.model, SoftEmbedding(embedding.weight, first, vectors))
        generation = dict(DEFAULT_GENERATION if base.generation is None else base.generation)
        generation[SUPPRESS_KEY] = [
            *(generation.get(SUPPRESS_KEY) or ()),
            *range(first, first + self.num_virtual_tokens),
        ]
        return replace(base, tokenizer=tokenizer, generation=generation)

    def _initial_ids(self, tokenizer: Tokenizer, seed: int) -> list[int]:
        """Token ids whose embeddings initialize the virtual tokens."""
        ids = tokenizer.encode(self.init_text) if self.init_text else []
        if ids:
            return [ids[number % len(ids)] for number in range(self.num_virtual_tokens)]
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(tokenizer.vocab_size, (self.num_virtual_tokens,), generator=generator).tolist()

    def plain(self, model: LanguageModel) -> LanguageModel:
        """Return a copy whose embedding matrix contains the trained vectors as new rows."""
        if isinstance(model, Classifier):
            return replace(model, backbone=self.plain(model.backbone))
        soft: Any = model.embedding
        size = max(model.vocab_size, soft.first + len(soft.vectors))
        module = copy.deepcopy(model.module)
        rows = _pad_rows(soft.frozen, size)
        rows[soft.first : soft.first + len(soft.vectors)] = soft.vectors.detach()
        if isinstance(model, DecoderModel):
            decoder = cast(Decoder, module)
            decoder.embed = nn.Embedding(size, rows.shape[1], _weight=rows)
            decoder.config = replace(decoder.config, vocab_size=size)
            if decoder.head is not None:
                weight = _pad_rows(decoder.get_parameter("head.weight"), size)
                decoder.head = nn.Linear(weight.shape[1], size, bias=False, device="meta")
                decoder.head.weight = nn.Parameter(weight)
            hf_config = {**model.hf_config, "vocab_size": size} if model.hf_config else {}
            return DecoderModel(decoder, hf_config)
        plain = replace(cast(TransformersModel, model), module=module)
        frozen = soft.frozen.detach().clone()
        plain.module.set_input_embeddings(nn.Embedding(len(frozen), frozen.shape[1], _weight=frozen))
        plain.module.tie_weights()
        plain.module.resize_token_embeddings(size, mean_resizing=False)
        with torch.no_grad():
            plain.module.get_input_embeddings().weight.copy_(rows)
        return plain


class SoftEmbedding(nn.Module):
    """A frozen embedding with trainable vectors for the ids from `first`.

    `weight` stays without these vectors, so a tied output projection gives them no logits.
    """

    def __init__(self, frozen: Tensor, first: int, vectors: Tensor) -> None:
        super().__init__()
        self.first = first
        self.register_buffer("frozen", frozen.detach(), persistent=False)
        self.vectors = nn.Parameter(vectors)

    @property
    def weight(self) -> Tensor:
        """The frozen embeddings, `(V, C)`."""
        frozen: Tensor = self.frozen  # type: ignore[assignment]
        return frozen

    def forward(self, ids: Tensor) -> Tensor:
        """Look up the embedding of every id."""
        indices = ids - self.first
        is_virtual = (indices >= 0) & (indices < len(self.vectors))
        frozen = F.embedding(ids.masked_fill(is_virtual, 0), self.weight)
        trained = F.embedding(indices.clamp(0, len(self.vectors) - 1), self.vectors)
        return torch.where(is_virtual.unsqueeze(-1), trained, frozen)


def _set_embedding(model: LanguageModel, embedding: nn.Module) -> None:
    module: Any = model.module
    if isinstance(model, DecoderModel):
        module.embed = embedding
    else:
        module.set_input_embeddings(embedding)


def _pad_rows(weight: Tensor, rows: int) -> Tensor:
    """Return a copy padded with zero rows to `rows` rows."""
    copied = weight.detach().clone()
    return F.pad(copied, (0, 0, 0, rows - len(copied))) if rows > len(copied) else copied
