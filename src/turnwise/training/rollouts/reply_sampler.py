"""Samples replies with the model in training through the inference engine, whose compiled code is several times faster.

The weights are copied into the engine before every use. With LoRA on our own decoder only the adapter is: the engine
keeps one copy of the base model.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from turnwise.chat.request_builder import BANNED_TOKEN_BIAS
from turnwise.core.inference import GenerationRequest, InferenceEngine
from turnwise.core.inference_client import InferenceClient
from turnwise.core.parameters import GenerationParams
from turnwise.engine.adapted_engine import create_adapted_engine
from turnwise.engine.engine import Engine
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.runners.memory_budget import kv_bytes_per_token
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.language_model import LanguageModel
from turnwise.models.lora_factors import LoraFactors, changes_only_layers
from turnwise.models.lora_layer import LoraLinear
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.launch.reply_samples import build_engine
from turnwise.training.method import Method

MAX_NUM_SEQS = 64  # sequences at the same time
MAX_SEED = 2**63  # the seeds of requests are below it


@dataclass(frozen=True, slots=True)
class SampledReply:
    """A reply of the model.

    Attributes:
        token_ids: its tokens, without the one that ends it.
        is_complete: False if it was cut off at the token limit.
        text: its text.
    """

    token_ids: tuple[int, ...]
    is_complete: bool
    text: str


class ReplySampler:
    """Samples replies with the weights of the last `sync`.

    Args:
        model: the model in training.
        method: the method that prepared it.
        tokenizer: its tokenizer.
        max_tokens: longest reply.
        max_total_tokens: longest prompt and reply together; one token of a reply is always sampled. Default: what the
            model allows.
        suppressed: token ids that are never sampled.
    """

    def __init__(
        self,
        model: LanguageModel,
        method: Method,
        tokenizer: Tokenizer,
        max_tokens: int,
        max_total_tokens: int | None = None,
        suppressed: Iterable[int] = (),
    ) -> None:
        self._model, self._method, self._tokenizer = model, method, tokenizer
        self._max_tokens, self._max_total_tokens = max_tokens, max_total_tokens
        self._logit_bias = tuple((id, BANNED_TOKEN_BIAS) for id in sorted(set(suppressed)))
        # Engines have threads, so the first `sync` makes them: until then an error leaves nothing behind.
        self._base: Engine | None = None  # over the base model, if adapters can be exchanged
        self._engine: InferenceEngine | None = None
        self._num_syncs = 0
        self._can_exchange_adapters = isinstance(model, DecoderModel) and bool(lora_factors_in_training(model.decoder))

    def sync(self) -> None:
        """Use the current weights from now on."""
        self._num_syncs += 1
        if self._can_exchange_adapters:
            self._can_exchange_adapters = self._exchange_adapter()
        if not self._can_exchange_adapters:
            self.close()
            self._model.module.eval()
            model = self._method.plain(self._model)
            if model.module is self._model.module:  # an engine may read small weights in place
                model = copy.deepcopy(model)
            self._engine = build_engine(model, MAX_NUM_SEQS, self._cache_bytes(model))

    def _exchange_adapter(self) -> bool:
        """Load the current adapter beside the base model; False if its engine does not support it."""
        assert isinstance(self._model, DecoderModel), "checked when it was made"
        factors = lora_factors_in_training(self._model.decoder)
        if self._base is None:
            self._base = Engine(
                without_lora(self._model.decoder), max_num_seqs=MAX_NUM_SEQS,
                kv_cache_memory_bytes=self._cache_bytes(self._model),
            )  # fmt: skip
        if self._engine is not None:
            self._engine.close()
        self._engine = create_adapted_engine(self._base, str(self._num_syncs), factors)
        return self._engine is not None

    def sample(
        self, prompts: Sequence[Sequence[int]], num_samples: int, seed: int, temperature: float = 1.0
    ) -> list[list[SampledReply]]:
        """Sample replies to prompts.

        Args:
            prompts: token ids.
            num_samples: replies per prompt.
            seed: the same seed gives the same replies.
            temperature: sampling temperature.
        """
        assert self._engine is not None, "`sync` comes first"
        params = [
            GenerationParams(
                temperature=temperature, seed=(seed * 1_000_003 + number) % MAX_SEED, logit_bias=self._logit_bias
            )
            for number in range(len(prompts) * num_samples)
        ]
        requests = [
            GenerationRequest(
                prompt_ids=tuple(prompts[number // num_samples]),
                params=params[number],
                max_tokens=self._max_new_tokens(self._engine, len(prompts[number // num_samples])),
                stop_ids=self._tokenizer.stop_ids,
            )
            for number in range(len(params))
        ]
        generations = InferenceClient(self._engine).generate_all((request, None) for request in requests)
        replies = [
            SampledReply(g.token_ids, g.finish_reason == "stop", self._tokenizer.decode(g.token_ids).strip())
            for g in generations
        ]
        return [replies[start : start + num_samples] for start in range(0, len(replies), num_samples)]

    def _cache_bytes(self, model: LanguageModel) -> int | None:
        """Limit of the KV cache on a GPU, which by default takes most of the memory that training needs."""
        if self._max_total_tokens is None or not isinstance(model, DecoderModel):
            return None
        weights = as_decoder_weights(model.decoder)
        return None if weights.device.type == "cpu" else sampling_cache_bytes(weights, self._max_total_tokens)

    def _max_new_tokens(self, engine: InferenceEngine, num_prompt_tokens: int) -> int:
        limit = min(self._max_tokens, engine.max_new_tokens(num_prompt_tokens))
        if self._max_total_tokens is None:
            return limit
        return min(limit, max(1, self._max_total_tokens - num_prompt_tokens))

    def close(self) -> None:
        """Stop the engines."""
        for engine in (self._engine, self._base):
            if engine is not None:
                engine.close()
        self._engine = self._base = None


def sampling_cache_bytes(weights: DecoderWeights, max_total_tokens: int) -> int:
    """Bytes of a KV cache for `MAX_NUM_SEQS` sequences of prompt and reply."""
    return MAX_NUM_SEQS * (blocks_for(max_total_tokens) + 1) * BLOCK_SIZE * kv_bytes_per_token(weights)


def without_lora(decoder: Decoder) -> Decoder:
    """The decoder without its trainable updates; it shares the weights."""
    shared = {id(parameter): parameter for parameter in decoder.parameters()}
    plain = copy.deepcopy(decoder, memo=dict(shared))
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, LoraLinear):
            parent, _, attribute = name.rpartition(".")
            setattr(plain.get_submodule(parent), attribute, layer.base_layer)
    return plain


@torch.no_grad()
def lora_factors_in_training(decoder: Decoder) -> Mapping[str, LoraFactors]:
    """The factors of the trainable updates by module name; empty if there are none or the engine does not apply them.

    DoRA changes the rows of W besides, and quantized base weights are rounded otherwise in the engine.
    """
    layers = {name: layer for name, layer in decoder.named_modules() if isinstance(layer, LoraLinear)}
    if any(layer.magnitude is not None or type(layer.base_layer) is not torch.nn.Linear for layer in layers.values()):
        return {}
    factors = {
        name: LoraFactors(layer.lora_A.detach().float().cpu(), layer.scaling * layer.lora_B.detach().float().cpu())
        for name, layer in layers.items()
    }
    return factors if changes_only_layers(factors) else {}
