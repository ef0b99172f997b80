"""Replace a directory atomically: a reader of the path sees the old directory or the new one.

Linux and macOS exchange two names in one system call. Elsewhere, and on file systems without support, the old directory
is renamed first; `recover_directory` renames it back after a crash between the two steps.
"""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

AT_FDCWD = -2 if sys.platform == "darwin" else -100
RENAME_EXCHANGE = 2  # macOS: RENAME_SWAP, the same number
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def swap_directory(new: Path, target: Path) -> None:
    """Rename the directory `new` to `target` and delete the directory that was there before."""
    if not target.exists():
        new.rename(target)
    elif _exchange(new, target):
        shutil.rmtree(new, ignore_errors=True)
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent)) / target.name
        target.rename(old)
        try:
            new.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old.parent, ignore_errors=True)


def recover_directory(target: Path) -> None:
    """Restore a directory that an interrupted `swap_directory` has renamed."""
    if target.exists():
        return
    for old in sorted(target.parent.glob(f".{target.name}.*.old")):
        with suppress(OSError):  # another process was faster
            (old / target.name).rename(target)
            old.rmdir()
            return


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names atomically. Returns False if the system or the file system does not support it."""
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform)
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if function is None:
        return False
    if function(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(second))
