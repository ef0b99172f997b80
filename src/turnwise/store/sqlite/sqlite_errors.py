"""Causes of SQLite errors, for error messages."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_MIN_FREE_BYTES = 65_536  # below this, SQLite cannot write its log and index


def is_busy(error: Exception) -> bool:
    """True if another connection holds SQLite's own lock."""
    return isinstance(error, sqlite3.Error) and _code(error) in _BUSY


def failure_reason(error: Exception, path: Path | None = None) -> str:
    """The cause of an error. SQLite reports a full disk with several codes; `path` is the database file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, sqlite3.Error):
        code = _code(error)
        if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _is_full(path)):
            return f"{os.strerror(errno.ENOSPC)} ({error})"
    return str(error) or type(error).__name__


def _code(error: sqlite3.Error) -> int | None:
    """The primary result code; None for errors of Python's sqlite3 module."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_full(path: Path | None) -> bool:
    try:
        return path is not None and shutil.disk_usage(path.parent).free < _MIN_FREE_BYTES
    except OSError:
        return False
