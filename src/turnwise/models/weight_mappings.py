"""Maps the tensors of our decoder to the names and layouts of Hugging Face checkpoints."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnwise.models.decoder_config import DecoderConfig

if TYPE_CHECKING:
    from torch import Tensor  # torch is imported only to convert tensors: names are needed before it is loaded


@dataclass(frozen=True, slots=True)
class WeightMapping:
    """One of our tensors and the checkpoint's tensors that it consists of, stacked along the first dimension.

    Attributes:
        decoder_name: name of our parameter.
        hf_names: names in the checkpoint, in stacking order.
        split_sizes: rows of each of the checkpoint's tensors; empty if there is one.
        is_transposed: True if the checkpoint stores `(in, out)`.
    """

    decoder_name: str
    hf_names: tuple[str, ...]
    split_sizes: tuple[int, ...] = ()
    is_transposed: bool = False

    def hf_shapes(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Shapes of the checkpoint's tensors, if ours has this shape."""
        return [(rows, *shape[1:])[:: -1 if self.is_transposed else 1] for rows in self.split_sizes or shape[:1]]

    def from_hf(self, get_tensor: "Callable[[str], Tensor]") -> "Tensor":
        """Read the checkpoint's tensors and join them to ours."""
        import torch

        hf_tensors = [get_tensor(name) for name in self.hf_names]
        tensor = hf_tensors[0] if len(hf_tensors) == 1 else torch.cat(hf_tensors)
        return tensor.T.contiguous() if self.is_transposed else tensor

    def to_hf(self, tensor: "Tensor") -> "Iterator[tuple[str, Tensor]]":
        """Split our tensor into the checkpoint's, with their names."""
        import torch

        tensor = tensor.T if self.is_transposed else tensor
        hf_tensors = torch.split(tensor, list(self.split_sizes)) if len(self.hf_names) > 1 else (tensor,)
        for name, hf_tensor in zip(self.hf_names, hf_tensors, strict=True):
            yield name, hf_tensor.contiguous()


def llama_weight_mappings(config: DecoderConfig) -> list[WeightMapping]:
    """The names of Llama's checkpoints, which most families use."""
    query_rows, key_rows = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    mappings = [
        WeightMapping("embed.weight", ("model.embed_tokens.weight",)),
        WeightMapping("norm.weight", ("model.norm.weight",)),
    ]
    if not config.tied:
        mappings.append(WeightMapping("head.weight", ("lm_head.weight",)))

    def add(decoder_name: str, *hf_names: str, split_sizes: tuple[int, ...] = (), has_bias: bool = False) -> None:
        for suffix in ("weight", "bias") if has_bias else ("weight",):
            suffixed_names = tuple(f"{name}.{suffix}" for name in hf_names)
            mappings.append(WeightMapping(f"{decoder_name}.{suffix}", suffixed_names, split_sizes))

    for number in range(config.num_layers):
        layer, hf_layer = f"layers.{number}", f"model.layers.{number}"
        attention, hf_attention, hf_mlp = f"{layer}.attention", f"{hf_layer}.self_attn", f"{hf_layer}.mlp"
        add(f"{layer}.attention_norm", f"{hf_layer}.input_layernorm")
        add(f"{layer}.mlp_norm", f"{hf_layer}.post_attention_layernorm")
        add(
            f"{attention}.qkv", f"{hf_attention}.q_proj", f"{hf_attention}.k_proj", f"{hf_attention}.v_proj",
            split_sizes=(query_rows, key_rows, key_rows), has_bias=config.qkv_bias,
        )  # fmt: skip
        add(f"{attention}.out", f"{hf_attention}.o_proj", has_bias=config.out_bias)
        if config.qk_norm:
            add(f"{attention}.query_norm", f"{hf_attention}.q_norm")
            add(f"{attention}.key_norm", f"{hf_attention}.k_norm")
        add(
            f"{layer}.mlp.up", f"{hf_mlp}.gate_proj", f"{hf_mlp}.up_proj",
            split_sizes=(config.intermediate_size, config.intermediate_size), has_bias=config.mlp_bias,
        )  # fmt: skip
        add(f"{layer}.mlp.down", f"{hf_mlp}.down_proj", has_bias=config.mlp_bias)
    return mappings
