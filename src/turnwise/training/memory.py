"""How much memory a run may take, and how to tell that there is too little."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

# What libraries say when an allocation fails; only some of them raise errors of a type of their own.
_REFUSALS = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc", "cannot allocate memory")
_CGROUPS = (  # limit, what is used, and where the part that can be given back is counted
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


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
    return min(_free_on_machine(), *_free_in_container(), *_free_by_limit())


def taken_memory(device: torch.device) -> int:
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


def _free_on_machine() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free_in_container() -> list[int]:
    found = []
    for limit, used, stat in _CGROUPS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            cached = [line for line in Path(stat).read_text().splitlines() if line.startswith("inactive_file ")]
            back = int(cached[0].split()[1]) if cached else 0
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()) + back)
    return found


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
