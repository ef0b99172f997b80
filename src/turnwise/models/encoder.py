"""Bidirectional encoder with the architecture of BERT (Devlin et al. 2019), for one sequence at a time.

The reference of the compiled encoder (`engine/native/encoder.hpp`), and its substitute on machines without a compiler.

Shapes: T tokens, C hidden size, H heads, D head size.
"""

import torch
from torch import Tensor, nn

from turnwise.models.encoder_weights import EncoderWeights, weight_shapes


class Encoder:
    """Computes hidden states in float32.

    Args:
        weights: the weights; all are read at once.
    """

    def __init__(self, weights: EncoderWeights) -> None:
        self.config = weights.config
        self._tensors = {name: weights.tensor(name).float() for name in weight_shapes(weights.config)}

    @torch.inference_mode()
    def hidden_states(self, ids_T: Tensor) -> Tensor:
        """Last hidden states `(T, C)` of a sequence."""
        config, tensors = self.config, self._tensors
        x_TC = tensors["embed.weight"][ids_T] + tensors["position.weight"][: len(ids_T)]
        x_TC = self._norm(x_TC, "embed_norm")
        for number in range(config.num_layers):
            name = f"layers.{number}"
            attention_TC = self._linear(self._attention(x_TC, name), f"{name}.out")
            x_TC = self._norm(x_TC + attention_TC, f"{name}.attention_norm")
            approximate = "none" if config.activation == "gelu" else "tanh"
            up_TF = nn.functional.gelu(self._linear(x_TC, f"{name}.up"), approximate=approximate)
            x_TC = self._norm(x_TC + self._linear(up_TF, f"{name}.down"), f"{name}.mlp_norm")
        return x_TC

    def _attention(self, x_TC: Tensor, name: str) -> Tensor:
        """Every token attends to every token of the sequence."""
        qkv = self._linear(x_TC, f"{name}.qkv").view(len(x_TC), 3, self.config.num_heads, self.config.head_dim)
        q_HTD, k_HTD, v_HTD = qkv.permute(1, 2, 0, 3)
        return nn.functional.scaled_dot_product_attention(q_HTD, k_HTD, v_HTD).transpose(0, 1).reshape(x_TC.shape)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return nn.functional.linear(x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _norm(self, x_TC: Tensor, name: str) -> Tensor:
        weight_C, bias_C = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return nn.functional.layer_norm(x_TC, x_TC.shape[-1:], weight_C, bias_C, self.config.norm_eps)
