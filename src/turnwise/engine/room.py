"""How much memory the cache may have."""

import os
from contextlib import suppress
from pathlib import Path

import torch

from turnwise.engine.blocks import BLOCK, blocks_for
from turnwise.engine.native.runner import supports
from turnwise.models.decoder import Decoder

SHARE = 0.25  # of a machine's memory
LEAST_CONTEXTS = 8  # for a search's lines, and for what may be asked again, where there are few slots
GPU_SHARE = 0.8  # of what a GPU has left beside the weights


def bytes_per_token(decoder: Decoder, *, half: bool = False) -> int:
    """What the keys and values of a token take in all layers; in bfloat16 with `half`."""
    config = decoder.config
    native = torch.bfloat16.itemsize if half else torch.float32.itemsize
    size = native if supports(decoder) else decoder.embed.weight.dtype.itemsize
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * size


def cache_blocks(decoder: Decoder, slots: int, most_bytes: int | None, *, half: bool = False) -> int:
    """Blocks for `slots` whole contexts, a few at least, or as many as there may be.

    Args:
        decoder: its sizes count, and where it lies.
        slots: chats that run at the same time.
        most_bytes: the limit; None takes a share of the memory there is.
        half: whether its numbers are bfloat16.
    """
    device = decoder.embed.weight.device
    if most_bytes is None:
        if device.type == "cuda":
            most_bytes = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
        else:
            most_bytes = int(SHARE * _memory())
    wanted = max(slots, LEAST_CONTEXTS) * blocks_for(decoder.config.context_length)
    return max(1, min(wanted, most_bytes // (BLOCK * bytes_per_token(decoder, half=half))))


def _memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its container's."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no container, or one without a limit
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return found
