"""The lock of a directory: one process at a time, freed when it ends, and visible to programs that only look."""

import errno
import os
import subprocess
import sys

import pytest

from turnwise.core.directory_lock import LOCK_NAME, DirectoryLocked, is_locked, lock_directory
from turnwise.core.errors import SaveFailed

HOLD = "import sys; from pathlib import Path; from turnwise.core.directory_lock import lock_directory\n"
HOLD += "with lock_directory(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_second_holder_learns_who_the_first_one_is(tmp_path):
    folder = tmp_path / "run"
    with lock_directory(folder), pytest.raises(DirectoryLocked) as error, lock_directory(folder):
        pass
    assert error.value.pid == os.getpid()
    assert not folder.exists(), "it is empty"


def test_a_lock_is_seen_while_it_is_held(tmp_path):
    assert not is_locked(tmp_path)
    with lock_directory(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_a_look_does_not_take_the_lock(tmp_path):
    (tmp_path / LOCK_NAME).write_text(f"{os.getpid()}\n", encoding="utf-8")  # of an earlier process with this id
    assert not is_locked(tmp_path)
    with lock_directory(tmp_path):
        assert is_locked(tmp_path)


@pytest.mark.costly
def test_a_killed_process_leaves_a_file_that_locks_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert is_locked(tmp_path)
        process.kill()
    assert (tmp_path / LOCK_NAME).is_file()
    assert not is_locked(tmp_path)
    with lock_directory(tmp_path):
        pass


def test_a_lock_holds_on_a_full_disk_which_has_no_space_for_the_id(tmp_path, monkeypatch):
    monkeypatch.setattr("turnwise.core.directory_lock.os.write", full_disk)
    with lock_directory(tmp_path), pytest.raises(DirectoryLocked) as error, lock_directory(tmp_path):
        pass
    assert error.value.pid is None


def test_a_directory_that_cannot_be_created_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    is_one = pytest.raises(SaveFailed, match=r"Could not write in .*file/run: Not a directory\.")
    with is_one, lock_directory(tmp_path / "file" / "run"):
        pass
