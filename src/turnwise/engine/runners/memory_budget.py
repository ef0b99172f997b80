"""Size of the KV cache, and whether a model's weights fit into memory."""

import torch

from turnwise.core.inference import Quantization
from turnwise.core.system_memory import available_memory, too_large, total_memory
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.native.native_runner import is_supported
from turnwise.models.decoder_weights import DecoderWeights

CPU_FRACTION = 0.25  # of the machine's memory that the KV cache may take by default
RETAINED_FRACTION = 1 / 64  # of the machine's memory for prefixes of earlier requests
MIN_RETAINED_BYTES = 128_000_000
GPU_FRACTION = 0.8  # of a GPU's free memory after loading the weights
MIN_CONTEXTS = 8  # full contexts in the cache even with fewer sequences: for searches and the prefix cache
HEAD_BITS = 8.0  # per weight of a quantized LM head
# Bits per weight of ggml's formats in the compiled library. 5- and 6-bit integers are stored in bytes.
BLOCK_FORMAT_BITS = {
    "Q4_0": 4.5, "Q4_1": 5.0, "Q4_K": 4.63, "Q5_0": 8.5, "Q5_1": 9.0, "Q5_K": 8.63, "Q6_K": 8.57, "Q8_0": 8.5,
}  # fmt: skip
FLOAT_BITS = 32.0
SCALE_BITS = 0.5  # per weight, for the scales of 4-bit weights
LOADING_BYTES = 100_000_000  # needed besides the weights while they are loaded


def kv_bytes_per_token(weights: DecoderWeights, *, half: bool = False) -> int:
    """Bytes of one token's keys and values in all layers; with `half`, the compiled library stores bfloat16."""
    config = weights.config
    native = torch.bfloat16.itemsize if half else torch.float32.itemsize
    size = native if is_supported(weights) else weights.dtype.itemsize
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * size


def num_cache_blocks(weights: DecoderWeights, max_num_seqs: int, max_bytes: int | None, *, half: bool = False) -> int:
    """Number of KV-cache blocks: enough for `max_num_seqs` full contexts (at least `MIN_CONTEXTS`), within `max_bytes`.

    Args:
        weights: the model; its sizes and its device are used.
        max_num_seqs: sequences that run at the same time.
        max_bytes: the limit. Default: a fraction of the device's memory.
        half: True if the compiled library stores keys and values as bfloat16.
    """
    device = weights.device
    if max_bytes is None:
        if device.type == "cuda":
            max_bytes = int(GPU_FRACTION * torch.cuda.mem_get_info(device)[0])
        else:
            max_bytes = int(CPU_FRACTION * total_memory())
    needed = max(max_num_seqs, MIN_CONTEXTS) * blocks_for(weights.config.context_length)
    return max(1, min(needed, max_bytes // (BLOCK_SIZE * kv_bytes_per_token(weights, half=half))))


def max_retained_blocks(weights: DecoderWeights, *, half: bool = False) -> int | None:
    """Blocks that prefixes of earlier requests may take on a CPU by default; None on a GPU, whose cache is allocated
    at once."""
    if weights.device.type != "cpu":
        return None
    retained_bytes = max(MIN_RETAINED_BYTES, int(RETAINED_FRACTION * total_memory()))
    return max(1, retained_bytes // (BLOCK_SIZE * kv_bytes_per_token(weights, half=half)))


def estimate_weight_bytes(weights: DecoderWeights, quantize: Quantization | None = None) -> int:
    """Estimated memory of a runner's weights, from their shapes and stored dtypes."""
    native = is_supported(weights)
    total = 0.0
    for name, shape in weights.shapes.items():
        is_rounded = quantize is not None and len(shape) == 2 and name not in ("embed.weight", "position.weight")
        block_formats = weights.block_formats(name)
        if native and is_rounded:
            bits = HEAD_BITS if quantize == "int8" or name == "head.weight" else 4 + SCALE_BITS
        elif native and block_formats is not None:
            bits = max(BLOCK_FORMAT_BITS.get(block_format, FLOAT_BITS) for block_format in block_formats)
            if name.endswith("mlp.up.weight") and len(set(block_formats)) > 1:  # `MatrixPacker.can_pack_blocks`
                bits = FLOAT_BITS
        elif native:
            bits = 8.0 * min(weights.stored_dtype(name).itemsize, weights.dtype.itemsize)
            bits = bits if weights.stored_dtype(name) == torch.bfloat16 else 32.0
        else:
            bits = 8.0 * weights.dtype.itemsize
        total += shape.numel() * bits / 8
    embed = weights.shapes["embed.weight"].numel()
    if native and weights.config.tied and quantize is not None:  # the quantized head is stored beside the embedding
        total += embed * HEAD_BITS / 8
    if not native and weights.device.type == "cpu" and weights.dtype == torch.float32:
        total = 2 * total + 4 * embed  # two layouts of every matrix, and the embeddings (`prepacked_linear.py`)
    return int(total)


def check_weights_fit(weights: DecoderWeights, quantize: Quantization | None = None) -> None:
    """Check, before any weight is read, that the weights fit into the available memory (CPU only).

    Raises:
        UserError: they do not; the message says what helps.
    """
    if weights.device.type != "cpu" or not weights.is_temporary:
        return
    needed, available = estimate_weight_bytes(weights, quantize) + LOADING_BYTES, available_memory()
    if needed <= available:
        return
    smaller: list[tuple[str, Quantization]] = [("--quantize int8", "int8"), ("--quantize int4", "int4")]
    options = [
        f"{option} (about {(size + LOADING_BYTES) / 1e9:.1f} GB)"
        for option, kind in smaller
        if is_supported(weights)
        and (size := estimate_weight_bytes(weights, kind)) + LOADING_BYTES <= min(available, needed - 1)
    ]
    suggestion = f"Use {' or '.join(options)}." if options else "Close other programs or choose a smaller model."
    raise too_large(needed, available, "The model", suggestion)
