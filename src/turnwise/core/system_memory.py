"""Memory of the machine or container, and checks before large allocations."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from turnwise.core.errors import UserError

CGROUP = Path("/sys/fs/cgroup")  # cgroup v2, inside a container
CGROUP_V1 = CGROUP / "memory"
# Parameters of `mallopt` in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def total_memory() -> int:
    """Memory of the machine in bytes, or the limit of its container."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, _ = _container()
    return total if limit is None else min(total, limit)


def available_memory() -> int:
    """Bytes that can be allocated without swapping other programs out. The file cache counts as free."""
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError, KeyError):  # not Linux
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        available = 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    limit, used = _container()
    return available if limit is None else max(0, min(available, limit - used))


def check_fits(needed: int, what: str, way_out: str = "Close other programs or choose a smaller model.") -> None:
    """Raise `UserError` if `needed` bytes are not available. Call it before the allocation."""
    if needed > (available := available_memory()):
        raise too_large(needed, available, what, way_out)


def too_large(needed: int, available: int, what: str, way_out: str) -> UserError:
    """The error for an object that does not fit into memory."""
    return UserError(
        f"{what} needs about {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available. {way_out}"
    )


def release_freed_memory() -> None:
    """Return freed memory to the system. glibc keeps it otherwise (`malloc_trim`)."""
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Keep freed memory in this process for its next allocations.

    By default glibc maps large blocks from the system and returns them when they are freed. A training step frees
    gigabytes in such blocks, and the system clears every page before it hands it out again, which takes about a
    tenth of the step. `release_freed_memory` still returns all.
    """
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def _container() -> tuple[int | None, int]:
    """Memory limit of the container (None: no limit) and its usage without the file cache, in bytes."""
    for folder, limit, usage, cached in (
        (CGROUP, "memory.max", "memory.current", "inactive_file"),
        (CGROUP_V1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # no such cgroup, or "max": no limit
            limit_bytes, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            files = next((int(line.split()[1]) for line in lines if line.startswith(f"{cached} ")), 0)
            return limit_bytes, max(0, used - files)
    return None, 0
