"""How much memory this process may use: the machine's, or its container's."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from turnwise.core.errors import UserError

CGROUP = Path("/sys/fs/cgroup")  # version 2, as seen from inside a container
CGROUP_V1 = CGROUP / "memory"


def total_memory() -> int:
    """Bytes of the machine, or of its container where that has a limit."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, _ = _container()
    return total if limit is None else min(total, limit)


def available_memory() -> int:
    """Bytes that can be allocated now without driving others out; what the system caches of files counts as free."""
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError, KeyError):  # another system than Linux
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        available = 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    limit, used = _container()
    return available if limit is None else max(0, min(available, limit - used))


def check_fits(needed: int, what: str, way_out: str = "Close other programs or choose a smaller model.") -> None:
    """Raise `UserError` where so many bytes are not available, before they are allocated."""
    if needed > (available := available_memory()):
        raise too_large(needed, available, what, way_out)


def too_large(needed: int, available: int, what: str, way_out: str) -> UserError:
    """The error for what does not fit into memory."""
    return UserError(
        f"{what} needs about {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available. {way_out}"
    )


def release_freed_memory() -> None:
    """Give memory that was freed back to the system: glibc keeps it where a later allocation does not fit the gaps."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _container() -> tuple[int | None, int]:
    """The limit of the container, or None, and what is used of it beside cached files."""
    for folder, limit, usage, cached in (
        (CGROUP, "memory.max", "memory.current", "inactive_file"),
        (CGROUP_V1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # no such group, or "max" for no limit
            most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            files = next((int(line.split()[1]) for line in lines if line.startswith(f"{cached} ")), 0)
            return most, max(0, used - files)
    return None, 0
