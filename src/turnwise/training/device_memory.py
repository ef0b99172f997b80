"""Free and used memory of a device, and detection of out-of-memory errors."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

from turnwise.core import system_memory as memory

REDUCE_MEMORY_HINT = "Use a smaller '--micro-batch-size' or '--max-seq-len', or the method 'lora'."
# Messages of failed allocations; only some libraries raise a special exception type.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "cannot allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an allocation failed, on CPU or GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY)


def available_memory(device: torch.device) -> int:
    """Return the bytes this process can still allocate, within container and process limits."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min([memory.available_memory(), *_free_by_limit()])


def used_memory(device: torch.device) -> int:
    """Return the bytes this process uses."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS") or peak_memory(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory of this process in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _free_by_limit() -> list[int]:
    if sys.platform == "win32":
        return []
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    size = _status("VmSize")
    return [] if limit == resource.RLIM_INFINITY or not size else [limit - size]


def _status(name: str) -> int:
    """Read a size in bytes from `/proc/self/status`; 0 if it is missing."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
