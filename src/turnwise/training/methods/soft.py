"""Soft prompts: a few vectors before every dialogue learn, and nothing else (Lester et al. 2021, prompt tuning).

They are the embeddings of new special tokens that the chat template begins with. So what comes out is an ordinary model
folder of a slightly larger vocabulary, and training, evaluation and serving read the same ids.
"""

import copy
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.core.errors import InvalidParameter
from turnwise.models.checkpoint import DecoderModel
from turnwise.models.decoder import Decoder
from turnwise.models.language_model import LanguageModel
from turnwise.models.transformers_model import TransformersModel
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training import method
from turnwise.training.export import DEFAULT_GENERATION
from turnwise.training.model_bundle import ModelBundle

SUPPRESSED = "suppress_tokens"  # what generation configs call tokens that are never said


class Method(method.Method):
    """How many vectors, and what they begin as.

    Attributes:
        tokens: how many.
        start: text whose tokens' embeddings they begin as; left out: those of random tokens.
    """

    SUMMARY: ClassVar[str] = "a few vectors before every dialogue learn"

    tokens: int = Field(20, ge=1)
    start: str | None = None

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:
        """Freeze the model, and put the vectors before its template."""
        texts = [f"<|soft_{number}|>" for number in range(self.tokens)]
        if base.tokenizer.token_to_id(texts[0]) is not None:
            raise InvalidParameter(
                "method",
                "This model has a soft prompt already, and a second one would take its place: begin from its base.",
            )
        tokenizer = base.tokenizer.with_special_tokens(texts)
        template = "{{- '" + "".join(texts) + "' -}}" + base.renderer.template
        tokenizer = tokenizer.with_template(template)
        first = tokenizer.token_to_id(texts[0])
        assert first is not None, "it was just added"
        module = base.model.module
        module.requires_grad_(False)
        embedding: Any = base.model.embedding
        vectors = embedding.weight[self._begins(base.tokenizer, seed)].detach().clone()
        _set_embedding(base.model, SoftEmbedding(embedding.weight, first, vectors))
        generation = dict(DEFAULT_GENERATION if base.generation is None else base.generation)
        generation[SUPPRESSED] = [*(generation.get(SUPPRESSED) or ()), *range(first, first + self.tokens)]
        return replace(base, tokenizer=tokenizer, generation=generation)

    def _begins(self, tokenizer: Tokenizer, seed: int) -> list[int]:
        said = tokenizer.encode(self.start) if self.start else []
        if said:
            return [said[number % len(said)] for number in range(self.tokens)]
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(tokenizer.vocab_size, (self.tokens,), generator=generator).tolist()

    def plain(self, model: LanguageModel) -> LanguageModel:
        """A copy with a larger vocabulary, the vectors being its last rows."""
        soft: Any = model.embedding
        size = max(model.vocab_size, soft.first + len(soft.vectors))
        module = copy.deepcopy(model.module)
        rows = _grown(soft.frozen, size)
        rows[soft.first : soft.first + len(soft.vectors)] = soft.vectors.detach()
        if isinstance(model, DecoderModel):
            decoder = cast(Decoder, module)
            decoder.embed = nn.Embedding(size, rows.shape[1], _weight=rows)
            decoder.config = replace(decoder.config, vocab_size=size)
            if decoder.head is not None:
                weight = _grown(decoder.get_parameter("head.weight"), size)
                decoder.head = nn.Linear(weight.shape[1], size, bias=False, device="meta")
                decoder.head.weight = nn.Parameter(weight)
            hf_config = {**model.hf_config, "vocab_size": size} if model.hf_config else {}
            return DecoderModel(decoder, hf_config)
        found = replace(cast(TransformersModel, model), module=module)
        kept = soft.frozen.detach().clone()
        found.module.set_input_embeddings(nn.Embedding(len(kept), kept.shape[1], _weight=kept))
        found.module.tie_weights()
        found.module.resize_token_embeddings(size, mean_resizing=False)
        with torch.no_grad():
            found.module.get_input_embeddings().weight.copy_(rows)
        return found


class SoftEmbedding(nn.Module):
    """Embeddings of which those of a few ids, from `first` on, learn.

    `weight` is what it was without them: what is tied to it gives no scores for them.
    """

    def __init__(self, frozen: Tensor, first: int, vectors: Tensor) -> None:
        super().__init__()
        self.first = first
        self.register_buffer("frozen", frozen.detach(), persistent=False)
        self.vectors = nn.Parameter(vectors)

    @property
    def weight(self) -> Tensor:
        """The embeddings that stay, `(V, C)`."""
        frozen: Tensor = self.frozen  # type: ignore[assignment]
        return frozen

    def forward(self, ids: Tensor) -> Tensor:
        """The embedding of every id."""
        places = ids - self.first
        soft = (places >= 0) & (places < len(self.vectors))
        plain = F.embedding(ids.masked_fill(soft, 0), self.weight)
        learned = F.embedding(places.clamp(0, len(self.vectors) - 1), self.vectors)
        return torch.where(soft.unsqueeze(-1), learned, plain)


def _set_embedding(model: LanguageModel, embedding: nn.Module) -> None:
    module: Any = model.module
    if isinstance(model, DecoderModel):
        module.embed = embedding
    else:
        module.set_input_embeddings(embedding)


def _grown(weight: Tensor, rows: int) -> Tensor:
    """A copy with rows of zeros after its own."""
    found = weight.detach().clone()
    return F.pad(found, (0, 0, 0, rows - len(found))) if rows > len(found) else found
