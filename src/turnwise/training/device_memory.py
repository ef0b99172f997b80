"""How much memory a run may take, and how to tell that there is too little."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

from turnwise.core import system_memory as memory

# What libraries say when an allocation fails; only some of them raise errors of a type of their own.
_REFUSALS = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a processor or a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _REFUSALS)


def available_memory(device: torch.device) -> int:
    """Bytes that this process may still take: what is free, within the limits of its container and its own."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min([memory.available_memory(), *_free_by_limit()])


def used_memory(device: torch.device) -> int:
    """Bytes that this process has taken."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS") or peak_memory(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has taken so far."""
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
    """A size in `/proc/self/status`; 0 where there is none."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
