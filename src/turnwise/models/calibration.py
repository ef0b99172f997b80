"""Quantizes a decoder layer by layer, with the inputs that calibration texts give to its matrices.

Each matrix is quantized with the inputs that the already quantized matrices before it produce. One layer at a time is
in memory.

Shapes: B sequences, T tokens, C hidden size, I inputs of a matrix.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from turnwise.models.block_quantization import BlockFormat, quantize_matrix
from turnwise.models.decoder import Block
from turnwise.models.decoder_weights import DecoderWeights
from turnwise.models.gptq import gptq_matrix
from turnwise.models.quantized_blocks import QuantizedBlocks
from turnwise.models.rope import RotaryEmbedding

MATRICES = ("attention.qkv", "attention.out", "mlp.up", "mlp.down")  # of a layer, in the order of the forward pass
BATCH = 4  # sequences that are computed at a time


class _InputsRead(Exception):
    """Ends a forward pass at the matrix whose inputs are collected."""


def quantize_layers(
    weights: DecoderWeights,
    ids_BT: Tensor | None,
    formats: Mapping[str, BlockFormat | None],
) -> Iterator[tuple[str, QuantizedBlocks]]:
    """Quantize the matrices of all layers.

    Args:
        weights: the decoder's weights, read layer by layer.
        ids_BT: calibration texts as token ids. None: every weight is rounded to the nearest value.
        formats: format of every matrix by name; None leaves a matrix as it is.

    Yields:
        The name of each matrix, such as "layers.0.mlp.up.weight", and its blocks.

    Raises:
        UserError: weights or activations are not finite.
    """
    config = weights.config
    hidden_BTC = None if ids_BT is None else _embed(weights, ids_BT)
    for number in range(config.num_layers):
        if hidden_BTC is None:
            for matrix in MATRICES:
                name = f"layers.{number}.{matrix}.weight"
                if (block_format := formats[name]) is not None:
                    yield name, quantize_matrix(weights.tensor(name), block_format, name)
            continue
        layer = _load_layer(weights, number)
        run = _layer_runner(weights, layer, number, hidden_BTC.shape[1])
        for matrix in MATRICES:
            name = f"layers.{number}.{matrix}.weight"
            if (block_format := formats[name]) is None:
                continue
            linear = layer.get_submodule(matrix)
            assert isinstance(linear, nn.Linear), "matrices of a layer are linear layers"
            blocks = gptq_matrix(linear.weight.detach(), _hessian(linear, run, hidden_BTC), block_format, name)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(blocks.dequantize()))
            yield name, blocks
        for start in range(0, len(hidden_BTC), BATCH):
            hidden_BTC[start : start + BATCH] = run(hidden_BTC[start : start + BATCH])


def _embed(weights: DecoderWeights, ids_BT: Tensor) -> Tensor:
    hidden_BTC = weights.tensor("embed.weight")[ids_BT].float()
    if weights.config.positions == "learned":
        hidden_BTC += weights.tensor("position.weight")[: ids_BT.shape[1]].float()
    return hidden_BTC


def _load_layer(weights: DecoderWeights, number: int) -> Block:
    with torch.device("meta"):
        layer = Block(weights.config, number)
    prefix = f"layers.{number}."
    names = [name for name in weights.shapes if name.startswith(prefix)]
    # Copies: the quantized weights are written into the layer, and a tensor may belong to the caller's decoder.
    copies = {name.removeprefix(prefix): weights.tensor(name).to(torch.float32, copy=True) for name in names}
    layer.load_state_dict(copies, assign=True)
    return layer.eval().requires_grad_(False)


def _layer_runner(weights: DecoderWeights, layer: Block, number: int, num_tokens: int) -> Callable[[Tensor], Tensor]:
    config = weights.config
    cos_sin = None
    if config.positions == "rope":
        positions_1T = torch.arange(num_tokens)[None]
        cos_sin = RotaryEmbedding(config.rope, config.head_dim, config.context_length)(positions_1T, torch.float32)
    mask, window = None, config.layer_windows[number]
    if window is not None and window < num_tokens:
        distances_TT = torch.arange(num_tokens)[:, None] - torch.arange(num_tokens)
        mask = (distances_TT >= 0) & (distances_TT < window)

    @torch.inference_mode()
    def run(hidden_BTC: Tensor) -> Tensor:
        out_BTC: Tensor = layer(hidden_BTC, cos_sin, mask, None)
        return out_BTC

    return run


def _hessian(linear: nn.Linear, run: Callable[[Tensor], Tensor], hidden_BTC: Tensor) -> Tensor:
    """The sum of x xᵀ over the inputs x of a matrix, `(I, I)`."""
    hessian_II = torch.zeros(linear.in_features, linear.in_features)

    def collect(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].flatten(0, -2)
        hessian_II.addmm_(rows.T, rows)
        raise _InputsRead

    hook = linear.register_forward_pre_hook(collect)
    try:
        for start in range(0, len(hidden_BTC), BATCH):
            try:
                run(hidden_BTC[start : start + BATCH])
            except _InputsRead:
                continue
    finally:
        hook.remove()
    return hessian_II
