"""A folder that replaces another is there at every moment, and one process at a time writes to a folder."""

import os
import subprocess
import sys
import threading

import pytest

from turnwise.core import directory_swap as exchange
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.directory_swap import recover_directory, swap_directory

HOLD = """
import sys, time
from pathlib import Path
from turnwise.core.directory_lock import lock_directory
with lock_directory(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def folder(path, text):
    path.mkdir()
    (path / "a").write_text(text)
    return path


@pytest.fixture(params=["exchanged", "renamed"])
def ways(request, monkeypatch):
    if request.param == "renamed":
        monkeypatch.setattr(exchange, "_exchange", lambda *_: False)
    return request.param


def test_a_folder_is_replaced_and_nothing_is_left(tmp_path, ways):
    target = folder(tmp_path / "model", "old")
    swap_directory(folder(tmp_path / "new", "new"), target)
    assert (target / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="renameat2")
def test_the_name_is_never_without_a_folder(tmp_path):
    target, missed, over = folder(tmp_path / "model", "0"), [], threading.Event()

    def look():
        while not over.is_set():
            try:
                descriptor = os.open(target, os.O_RDONLY)
            except FileNotFoundError:
                missed.append(True)
            else:
                os.close(descriptor)

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(1, 200):
        swap_directory(folder(tmp_path / "new", str(number)), target)
    over.set()
    watcher.join()
    assert not missed
    assert (target / "a").read_text() == "199"


def test_a_folder_that_was_moved_away_is_recovered(tmp_path, monkeypatch):
    """The process is killed between the two renames."""
    monkeypatch.setattr(exchange, "_exchange", lambda *_: False)
    target, new = folder(tmp_path / "model", "old"), folder(tmp_path / "new", "new")
    rename = type(target).rename

    def killed(self, other):
        if self == new:
            raise KeyboardInterrupt
        return rename(self, other)

    monkeypatch.setattr(type(target), "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        swap_directory(new, target)
    monkeypatch.undo()
    assert not target.exists()
    recover_directory(target)
    assert (target / "a").read_text() == "old"
    recover_directory(tmp_path / "never")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "new"]


def test_one_process_at_a_time_writes_to_a_folder(tmp_path):
    work = tmp_path / "work"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(work)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(DirectoryLocked) as caught, lock_directory(work):
            pass
        assert caught.value.pid == holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with lock_directory(work):  # the system freed it
        assert (work / "lock").read_text() == f"{os.getpid()}\n"
    assert not work.exists()
