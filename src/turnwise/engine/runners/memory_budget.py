"""How much memory the cache may have, and whether a model fits into what is available."""

import torch

from turnwise.core.ports import Quantization
from turnwise.core.system_memory import available_memory, too_large, total_memory
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.native.native_runner import is_supported
from turnwise.engine.native.packed_model import HEAD_BITS
from turnwise.models.decoder_weights import DecoderWeights

SHARE = 0.25  # of a machine's memory
MIN_CONTEXTS = 8  # for a search's lines, and for what may be asked again, where there are few slots
GPU_SHARE = 0.8  # of what a GPU has left beside the weights
SCALE_BITS = 0.5  # that scales of 4-bit weights add to each
BESIDE = 100_000_000  # bytes beside the weights while they are read


def kv_bytes_per_token(weights: DecoderWeights, *, half: bool = False) -> int:
    """What the keys and values of a token take in all layers; in bfloat16 with `half`."""
    config = weights.config
    native = torch.bfloat16.itemsize if half else torch.float32.itemsize
    size = native if is_supported(weights) else weights.dtype.itemsize
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * size


def num_cache_blocks(weights: DecoderWeights, slots: int, most_bytes: int | None, *, half: bool = False) -> int:
    """Blocks for `slots` whole contexts, a few at least, or as many as there may be.

    Args:
        weights: the sizes of the decoder count, and where it lies.
        slots: chats that run at the same time.
        most_bytes: the limit; None takes a share of the memory there is.
        half: whether its numbers are bfloat16.
    """
    device = weights.device
    if most_bytes is None:
        if device.type == "cuda":
            most_bytes = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
        else:
            most_bytes = int(SHARE * total_memory())
    wanted = max(slots, MIN_CONTEXTS) * blocks_for(weights.config.context_length)
    return max(1, min(wanted, most_bytes // (BLOCK_SIZE * kv_bytes_per_token(weights, half=half))))


def estimate_weight_bytes(weights: DecoderWeights, quantize: Quantization | None = None) -> int:
    """Memory that a runner needs for the weights, estimated from their shapes and stored types."""
    native = is_supported(weights)
    layers = 0.0
    for name, shape in weights.shapes.items():
        if native and quantize is not None and len(shape) == 2 and name not in ("embed.weight", "position.weight"):
            bits = float(HEAD_BITS) if quantize == "int8" or name == "head.weight" else 4 + SCALE_BITS
        elif native:
            bits = 8.0 * min(weights.stored_dtype(name).itemsize, weights.dtype.itemsize)
            bits = bits if weights.stored_dtype(name) == torch.bfloat16 else 32.0
        else:
            bits = 8.0 * weights.dtype.itemsize
        layers += shape.numel() * bits / 8
    embed = weights.shapes["embed.weight"].numel()
    if native and weights.config.tied:  # the head is a copy in another layout
        layers += embed * (HEAD_BITS / 8 if quantize else weights.stored_dtype("embed.weight").itemsize)
    if not native and weights.device.type == "cpu" and weights.dtype == torch.float32:
        layers = (
            2 * layers + 4 * embed
        )  # two layouts of every matrix, and the embeddings (`engine/runners/prepacked_linear.py`)
    return int(layers)


def check_weights_fit(weights: DecoderWeights, quantize: Quantization | None = None) -> None:
    """Raise where the weights do not fit into the memory that is available, before any of them is read.

    Raises:
        UserError: they do not; it says what would help.
    """
    if weights.device.type != "cpu" or not weights.is_temporary:
        return
    needed, available = estimate_weight_bytes(weights, quantize) + BESIDE, available_memory()
    if needed <= available:
        return
    smaller: list[tuple[str, Quantization]] = [("--quantize int8", "int8"), ("--quantize int4", "int4")]
    fitting = [
        f"{option} (about {(size + BESIDE) / 1e9:.1f} GB)"
        for option, kind in smaller
        if is_supported(weights)
        and (size := estimate_weight_bytes(weights, kind)) + BESIDE <= min(available, needed - 1)
    ]
    way_out = f"Use {' or '.join(fitting)}." if fitting else "Close other programs or choose a smaller model."
    raise too_large(needed, available, "The model", way_out)
