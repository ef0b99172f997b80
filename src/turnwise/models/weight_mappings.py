"""How a published checkpoint names and lays out what our decoder calls by other names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.models.decoder_config import DecoderConfig


@dataclass(frozen=True, slots=True)
class Entry:
    """One of our tensors and the published ones it is made of, stacked along the first dimension in this order."""

    ours: str
    theirs: tuple[str, ...]
    sizes: tuple[int, ...] = ()  # rows of each published part; empty when there is one
    transposed: bool = False  # published as (in, out)

    def published_shapes(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """The shapes of the published parts of a tensor of this shape."""
        return [(rows, *shape[1:])[:: -1 if self.transposed else 1] for rows in self.sizes or shape[:1]]

    def to_ours(self, get: Callable[[str], Tensor]) -> Tensor:
        """Fetch the published parts and put them together."""
        parts = [get(name) for name in self.theirs]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        return tensor.T.contiguous() if self.transposed else tensor

    def to_theirs(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Take our tensor apart again."""
        tensor = tensor.T if self.transposed else tensor
        parts = torch.split(tensor, list(self.sizes)) if len(self.theirs) > 1 else (tensor,)
        for name, part in zip(self.theirs, parts, strict=True):
            yield name, part.contiguous()


def llama_layout(config: DecoderConfig) -> list[Entry]:
    """The naming that Llama began and most decoders follow."""
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    inner = config.intermediate_size
    entries = [Entry("embed.weight", ("model.embed_tokens.weight",)), Entry("norm.weight", ("model.norm.weight",))]
    if not config.tied:
        entries.append(Entry("head.weight", ("lm_head.weight",)))
    for i in range(config.num_layers):
        ours, theirs = f"layers.{i}", f"model.layers.{i}"
        attention = f"{theirs}.self_attn"

        def add(name: str, parts: tuple[str, ...], sizes: tuple[int, ...], bias: bool) -> None:
            kinds = ("weight", "bias") if bias else ("weight",)
            entries.extend(Entry(f"{name}.{kind}", tuple(f"{part}.{kind}" for part in parts), sizes) for kind in kinds)

        add(f"{ours}.attention_norm", (f"{theirs}.input_layernorm",), (), False)
        add(f"{ours}.mlp_norm", (f"{theirs}.post_attention_layernorm",), (), False)
        qkv = tuple(f"{attention}.{part}_proj" for part in "qkv")
        add(f"{ours}.attention.qkv", qkv, (queries, keys, keys), config.qkv_bias)
        add(f"{ours}.attention.out", (f"{attention}.o_proj",), (), config.out_bias)
        if config.qk_norm:
            add(f"{ours}.attention.query_norm", (f"{attention}.q_norm",), (), False)
            add(f"{ours}.attention.key_norm", (f"{attention}.k_norm",), (), False)
        gate_up = (f"{theirs}.mlp.gate_proj", f"{theirs}.mlp.up_proj")
        add(f"{ours}.mlp.up", gate_up, (inner, inner), config.mlp_bias)
        add(f"{ours}.mlp.down", (f"{theirs}.mlp.down_proj",), (), config.mlp_bias)
    return entries
