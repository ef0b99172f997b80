"""Folders are replaced without a gap, and one process at a time writes to a folder."""

import os
import subprocess
import sys
import threading

import pytest

from turnwise.core import directory_swap
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.directory_swap import recover_directory, swap_directory

LOCK_PROGRAM = """
import sys, time
from pathlib import Path
from turnwise.core.directory_lock import lock_directory
with lock_directory(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def make_folder(path, text):
    path.mkdir()
    (path / "a").write_text(text)
    return path


@pytest.fixture(params=["exchange", "two renames"])
def swap_method(request, monkeypatch):
    """Both ways to swap: the atomic exchange of Linux, and two renames where it is not available."""
    if request.param == "two renames":
        monkeypatch.setattr(directory_swap, "_exchange", lambda *_: False)
    return request.param


def test_a_folder_is_replaced_and_no_other_files_remain(tmp_path, swap_method):
    target = make_folder(tmp_path / "model", "old")
    swap_directory(make_folder(tmp_path / "new", "new"), target)
    assert (target / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="renameat2")
def test_the_folder_exists_at_every_moment_of_a_swap(tmp_path):
    target, misses, is_done = make_folder(tmp_path / "model", "0"), [], threading.Event()

    def watch():
        while not is_done.is_set():
            try:
                descriptor = os.open(target, os.O_RDONLY)
            except FileNotFoundError:
                misses.append(True)
            else:
                os.close(descriptor)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(1, 200):
        swap_directory(make_folder(tmp_path / "new", str(number)), target)
    is_done.set()
    watcher.join()
    assert not misses
    assert (target / "a").read_text() == "199"


def test_a_folder_is_recovered_after_an_interrupted_swap(tmp_path, monkeypatch):
    """The process ends between the two renames."""
    monkeypatch.setattr(directory_swap, "_exchange", lambda *_: False)
    target, new = make_folder(tmp_path / "model", "old"), make_folder(tmp_path / "new", "new")
    rename = type(target).rename

    def interrupted_rename(self, destination):
        if self == new:
            raise KeyboardInterrupt
        return rename(self, destination)

    monkeypatch.setattr(type(target), "rename", interrupted_rename)
    with pytest.raises(KeyboardInterrupt):
        swap_directory(new, target)
    monkeypatch.undo()
    assert not target.exists()
    recover_directory(target)
    assert (target / "a").read_text() == "old"
    recover_directory(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "new"]


def test_one_process_at_a_time_writes_to_a_folder(tmp_path):
    work = tmp_path / "work"
    holder = subprocess.Popen([sys.executable, "-c", LOCK_PROGRAM, str(work)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(DirectoryLocked) as error, lock_directory(work):
            pass
        assert error.value.pid == holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with lock_directory(work):  # the operating system releases the lock of a killed process
        assert (work / "lock").read_text() == f"{os.getpid()}\n"
    assert not work.exists()
