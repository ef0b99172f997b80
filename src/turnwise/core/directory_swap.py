"""Put a complete folder where another one stands, so that whoever opens the name finds the old or the new one.

Linux and macOS can exchange two names in one step. Elsewhere, and on file systems that cannot, the old folder is first
renamed away; `recover_folder` renames it back where a process was killed before the new one took its place.
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
RENAME_EXCHANGE = 2  # the same number as macOS's RENAME_SWAP
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def swap_directory(complete: Path, target: Path) -> None:
    """Rename the folder `complete` to `target`; a folder that stood there is deleted afterwards."""
    if not target.exists():
        complete.rename(target)
    elif _exchange(complete, target):
        shutil.rmtree(complete, ignore_errors=True)
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent)) / target.name
        target.rename(old)
        try:
            complete.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old.parent, ignore_errors=True)


def recover_directory(target: Path) -> None:
    """Rename a folder back that `replace_with` moved away and could not replace before its process ended."""
    if target.exists():
        return
    for old in sorted(target.parent.glob(f".{target.name}.*.old")):
        with suppress(OSError):  # another process was quicker
            (old / target.name).rename(target)
            old.rmdir()
            return


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform)
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if function is None:
        return False
    if function(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(other))
