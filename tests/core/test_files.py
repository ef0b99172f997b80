"""Files and folders are written completely or not at all."""

import errno

import pytest

from turnwise.core.errors import SaveFailed
from turnwise.core.files import atomic_directory, atomic_write, remove_remains_below


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced(tmp_path):
    atomic_write(tmp_path / "a" / "x.txt", "old")
    atomic_write(tmp_path / "a" / "x.txt", "new")
    assert (tmp_path / "a" / "x.txt").read_text() == "new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    atomic_write(tmp_path / "x.txt", "old")
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(SaveFailed, match="No space left on device"):
        atomic_write(tmp_path / "x.txt", "new")
    assert (tmp_path / "x.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_folder_appears_only_when_complete(tmp_path):
    target = tmp_path / "model"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("a bug")])
def test_a_failure_inside_leaves_the_old_folder_and_nothing_else(tmp_path, error):
    target = tmp_path / "model"
    with atomic_directory(target) as folder:
        (folder / "a").write_text("old")

    def write_half() -> None:
        with atomic_directory(target) as folder:
            (folder / "a").write_text("half")
            raise error

    with pytest.raises((SaveFailed, RuntimeError)):
        write_half()
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_existing_folder_is_replaced_completely(tmp_path):
    target = tmp_path / "model"
    for content in ("old", "new"):
        with atomic_directory(target) as folder:
            (folder / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_killed_processes_have_left_below_a_folder_is_deleted(tmp_path):
    deep = tmp_path / "cycles" / "0001"
    (deep / ".model.x1y2.part" / "weights").mkdir(parents=True)
    (deep / ".cycle.json.4711.part").write_text("half", encoding="utf-8")
    (deep / ".data.z3.old" / "data").mkdir(parents=True)  # renamed by a replacement that never ended
    (deep / "cycle.json").write_text("whole", encoding="utf-8")
    (deep / ".hidden").write_text("of somebody else", encoding="utf-8")
    remove_remains_below(tmp_path)
    assert sorted(path.name for path in deep.iterdir()) == [".hidden", "cycle.json", "data"]
