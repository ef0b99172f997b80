"""How a published checkpoint names and lays out what our decoder calls by other names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.models.decoder_config import DecoderConfig


@dataclass(frozen=True, slots=True)
class WeightMapping:
    """One of our tensors and the published ones it is made of, stacked along the first dimension in this order."""

    decoder_name: str
    hf_names: tuple[str, ...]
    sizes: tuple[int, ...] = ()  # rows of each published part; empty when there is one
    transposed: bool = False  # published as (in, out)

    def published_shapes(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """The shapes of the published parts of a tensor of this shape."""
        return [(rows, *shape[1:])[:: -1 if self.transposed else 1] for rows in self.sizes or shape[:1]]

    def from_hf(self, get: Callable[[str], Tensor]) -> Tensor:
        """Fetch the published parts and put them together."""
        parts = [get(name) for name in self.hf_names]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        return tensor.T.contiguous() if self.transposed else tensor

    def to_hf(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Take our tensor apart again."""
        tensor = tensor.T if self.transposed else tensor
        parts = torch.split(tensor, list(self.sizes)) if len(self.hf_names) > 1 else (tensor,)
        for name, part in zip(self.hf_names, parts, strict=True):
            yield name, part.contiguous()


def llama_weight_mappings(config: DecoderConfig) -> list[WeightMapping]:
    """The naming that Llama began and most decoders follow."""
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    inner = config.intermediate_size
    entries = [
        WeightMapping("embed.weight", ("model.embed_tokens.weight",)),
        WeightMapping("norm.weight", ("model.norm.weight",)),
    ]
    if not config.tied:
        entries.append(WeightMapping("head.weight", ("lm_head.weight",)))
    for i in range(config.num_layers):
        decoder_name, hf_names = f"layers.{i}", f"model.layers.{i}"
        attention = f"{hf_names}.self_attn"

        def add(name: str, parts: tuple[str, ...], sizes: tuple[int, ...], bias: bool) -> None:
            kinds = ("weight", "bias") if bias else ("weight",)
            entries.extend(
                WeightMapping(f"{name}.{kind}", tuple(f"{part}.{kind}" for part in parts), sizes) for kind in kinds
            )

        add(f"{decoder_name}.attention_norm", (f"{hf_names}.input_layernorm",), (), False)
        add(f"{decoder_name}.mlp_norm", (f"{hf_names}.post_attention_layernorm",), (), False)
        qkv = tuple(f"{attention}.{part}_proj" for part in "qkv")
        add(f"{decoder_name}.attention.qkv", qkv, (queries, keys, keys), config.qkv_bias)
        add(f"{decoder_name}.attention.out", (f"{attention}.o_proj",), (), config.out_bias)
        if config.qk_norm:
            add(f"{decoder_name}.attention.query_norm", (f"{attention}.q_norm",), (), False)
            add(f"{decoder_name}.attention.key_norm", (f"{attention}.k_norm",), (), False)
        gate_up = (f"{hf_names}.mlp.gate_proj", f"{hf_names}.mlp.up_proj")
        add(f"{decoder_name}.mlp.up", gate_up, (inner, inner), config.mlp_bias)
        add(f"{decoder_name}.mlp.down", (f"{hf_names}.mlp.down_proj",), (), config.mlp_bias)
    return entries
