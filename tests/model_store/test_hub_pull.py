"""Models of a hub, with `huggingface_hub` against a hub of our own on this machine."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from turnwise.app.model_store import hub_pull
from turnwise.app.model_store.hub_files import HubFile, select_files
from turnwise.app.model_store.pull import plan_pull
from turnwise.app.model_store.store import ModelStore
from turnwise.core.errors import InvalidParameter, SaveFailed, Unavailable, UserError
from turnwise.models.stored_models import HubReference, parse_hub_reference, stored_model_folder

pytest.importorskip("huggingface_hub")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 40
FILES = {
    "config.json": b'{"model_type": "llama"}', "model.safetensors": WEIGHTS, "pytorch_model.bin": b"pickle",
    "README.md": b"card",
}  # fmt: skip


def files(*paths):
    return [HubFile(path, 10, None) for path in paths]


def selected(*paths, gguf=None):
    return [file.path for file in select_files("o/n", files(*paths), gguf)]


@pytest.mark.parametrize(
    ("reference", "fields"),
    [
        ("hf:o/n", ("o/n", None, None)),
        ("hf:o/n@v1.0", ("o/n", None, "v1.0")),
        ("hf:o/n@refs/pr/1", ("o/n", None, "refs/pr/1")),
        ("hf:o/n/sub/q4.gguf", ("o/n", "sub/q4.gguf", None)),
        ("hf:o/n/q4.gguf@main", ("o/n", "q4.gguf", "main")),
        ("o/n", ("o/n", None, None)),
    ],
)
def test_a_reference_names_a_repository_a_file_and_a_revision(reference, fields):
    parsed = parse_hub_reference(reference)
    assert parsed == HubReference(*fields)
    assert str(parsed) == f"hf:{reference.removeprefix('hf:')}"


@pytest.mark.parametrize("reference", ["hf:n", "hf:o/n/x", "hf:o/n/x.bin", "hf:o/n@", "hf:o/n@a b"])
def test_another_form_is_no_reference(reference):
    assert parse_hub_reference(reference) is None


def test_safetensors_are_taken_with_tokenizer_and_configs_and_without_copies_in_other_formats():
    paths = ["config.json", "1_Pooling/config.json", "tokenizer.model", "chat_template.jinja", "model.safetensors"]
    ignored = ["pytorch_model.bin", "consolidated.safetensors", "onnx/model.onnx", "run.py", "x.gguf", "../up.json"]
    assert selected(*paths, *ignored) == paths


def test_of_several_gguf_files_one_has_to_be_named():
    assert selected("README.md", "q4.gguf") == ["q4.gguf"]
    assert selected("q4.gguf", "q8.gguf", gguf="q8.gguf") == ["q8.gguf"]
    with pytest.raises(InvalidParameter, match=r"2 GGUF models; name one: hf:o/n/q4\.gguf, hf:o/n/q8\.gguf"):
        selected("q4.gguf", "q8.gguf")
    with pytest.raises(InvalidParameter, match=r"has no file q5\.gguf"):
        selected("q4.gguf", gguf="q5.gguf")


def test_the_first_file_of_a_split_model_stands_for_all():
    first, second = shards = ["Q8/m-00001-of-00002.gguf", "Q8/m-00002-of-00002.gguf"]
    assert selected(*reversed(shards), "q4.gguf", gguf=first) == shards
    assert selected(*shards) == shards, "it is the only model"
    with pytest.raises(InvalidParameter, match=r"2 GGUF models; name one: hf:o/n/Q8/m-00001-of-00002\.gguf, hf:o/n/q4"):
        selected(*shards, "q4.gguf")
    with pytest.raises(InvalidParameter, match=r"name the first one, m-00001-of-00002\.gguf"):
        selected(*shards, gguf=second)
    with pytest.raises(InvalidParameter, match=r"has no file Q8/m-00002-of-00002\.gguf"):
        selected(first, gguf=first)
    with pytest.raises(InvalidParameter, match="99,999 files"):
        selected("m-00001-of-99999.gguf")


@pytest.mark.parametrize("path", ["../up.gguf", "/etc/up.gguf", "a/../../up.gguf", ".hidden/x.gguf"])
def test_a_hub_cannot_name_a_path_outside_the_folder(path):
    with pytest.raises(UserError, match="no safetensors and no GGUF file"):
        selected(path)


def test_pickled_weights_are_refused():
    with pytest.raises(UserError, match="Pickled weights are not pulled"):
        selected("config.json", "pytorch_model.bin")


@pytest.fixture
def hub():
    """A hub with the model `org/name`. `sent` maps paths to the bytes that are sent instead."""
    sent = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            if self.path.startswith("/api/models/org/name"):
                siblings = [
                    {"rfilename": path, "size": len(content), "blobId": "0"}
                    | ({"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}}
                       if path.endswith("safetensors") else {})
                    for path, content in FILES.items()
                ]  # fmt: skip
                card = {"license": "apache-2.0"}
                self.reply(json.dumps({
                    "id": "org/name", "modelId": "org/name", "sha": COMMIT, "siblings": siblings, "cardData": card,
                    "pipeline_tag": "text-generation", "tags": [], "private": False, "downloads": 0, "likes": 0,
                }).encode())  # fmt: skip
            elif self.path.startswith("/org/name/resolve/"):
                path = self.path.split(COMMIT + "/")[1]
                self.reply(sent.get(path, FILES[path]), path)
            else:
                self.not_found()

        def not_found(self):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def reply(self, content, path=None):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            if path is not None:
                self.send_header("ETag", hashlib.sha1(FILES[path]).hexdigest())
                self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    server.sent = sent
    yield server
    server.shutdown()
    server.server_close()


def turnwise(server, home, *arguments):
    """Run the command with this hub; huggingface_hub reads its address once, at its import."""
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "TURNWISE_HOME": str(home), "NO_PROXY": "127.0.0.1",
        "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "turnwise", "models", *arguments], env=environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


def test_a_model_of_the_hub_is_pulled_at_a_pinned_commit(hub, tmp_path):
    done = turnwise(hub, tmp_path, "pull", "hf:org/name")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "name"
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md", "source.json"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    source = json.loads((folder / "source.json").read_text())
    assert (source["source"], source["license"], source["kind"]) == (f"hf:org/name@{COMMIT}", "apache-2.0", "chat")
    assert source["references"] == ["hf:org/name"]
    assert "SHA-256 of 1 of 3 files verified" in done.stderr
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["name"]


def test_a_damaged_file_is_deleted_and_a_second_run_continues(hub, tmp_path):
    hub.sent["model.safetensors"] = bytes(len(WEIGHTS))
    done = turnwise(hub, tmp_path, "pull", "hf:org/name")
    assert done.returncode == 2
    assert "model.safetensors of org/name is damaged and was deleted" in done.stderr
    hub.sent.clear()
    assert turnwise(hub, tmp_path, "pull", "hf:org/name").returncode == 0


def test_an_unknown_model_is_one_sentence(hub, tmp_path):
    done = turnwise(hub, tmp_path, "pull", "hf:org/other")
    assert done.returncode == 2
    assert "org/other does not exist on the hub, or your token" in done.stderr


def test_without_a_hub_the_error_says_what_to_do(hub, tmp_path):
    hub.shutdown()
    hub.server_close()
    done = turnwise(hub, tmp_path, "pull", "hf:org/name")
    assert done.returncode == 1
    assert "run `hf download org/name --local-dir FOLDER`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


class FakeHub:
    """What `hub_pull` uses of `huggingface_hub`. A file whose content is an exception raises it."""

    def __init__(self, files, commit=COMMIT, unhashed=()):
        import huggingface_hub.errors

        self.errors = huggingface_hub.errors
        self.files, self.commit, self.unhashed = files, commit, unhashed

    def HfApi(self):
        return self

    def model_info(self, repository, *, revision, files_metadata):
        siblings = [
            SimpleNamespace(
                rfilename=path, size=1,
                lfs=None if path in self.unhashed or isinstance(content, Exception)
                else SimpleNamespace(sha256=hashlib.sha256(content).hexdigest()),
            )
            for path, content in self.files.items()
        ]  # fmt: skip
        return SimpleNamespace(sha=self.commit, siblings=siblings, card_data=None, pipeline_tag=None)

    def hf_hub_download(self, repository, path, *, revision, local_dir):
        if isinstance(self.files[path], Exception):
            raise self.files[path]
        target = Path(local_dir, path)
        for file, content in ((target, self.files[path]), (Path(local_dir, ".cache/x/metadata"), b"")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return str(target)


@pytest.fixture
def pull(tmp_path, monkeypatch):
    """`pull(reference, files, name=…)`: pull from a hub with these files; returns the folder and if it was there."""
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))

    def run(reference, files, name=None, **hub):
        monkeypatch.setattr(hub_pull, "_import_hub", lambda: FakeHub(files, **hub))
        return plan_pull(reference, name=name).run(ModelStore(), lambda *_: None)

    return run


def stored_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


GGUFS = {"Q4/m.Q4_0.gguf": b"GGUF4", "m.Q8_0.gguf": b"GGUF8"}


def test_two_files_of_a_repository_are_two_models_at_the_top_level(pull):
    for path, content in GGUFS.items():
        name = Path(path).stem
        folder, was_there = pull(f"hf:org/name/{path}", GGUFS)
        assert (folder.name, was_there) == (name, False)
        assert stored_files(folder) == [f"{name}.gguf", "source.json"]
        assert (folder / f"{name}.gguf").read_bytes() == content
        assert ModelStore().get(name).source == f"hf:org/name/{path}@{COMMIT}"
        assert pull(f"hf:org/name/{path}", GGUFS) == (folder, True)


def test_another_file_does_not_pass_for_the_stored_one(pull):
    pull("hf:org/name/Q4/m.Q4_0.gguf", GGUFS, name="mine")
    with pytest.raises(UserError, match=rf"from hf:org/name/Q4/m\.Q4_0\.gguf@{COMMIT}"):
        pull("hf:org/name/m.Q8_0.gguf", GGUFS, name="mine")


def test_a_split_model_is_pulled_with_all_its_files(pull):
    shards = {"Q8/m-00001-of-00002.gguf": b"GGUF1", "Q8/m-00002-of-00002.gguf": b"GGUF2"}
    folder, _ = pull("hf:org/name/Q8/m-00001-of-00002.gguf", shards | GGUFS)
    assert folder.name == "m"
    assert stored_files(folder) == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "source.json"]


def test_leftovers_of_another_pull_of_the_same_name_are_not_published(pull):
    interrupted = {"config.json": b"{}", "extra.json": b"{}", "model.safetensors": OSError(errno.ECONNRESET, "reset")}
    with pytest.raises(Unavailable):
        pull("hf:org/other", interrupted, name="mine")
    folder, _ = pull("hf:org/name", {"config.json": b"[]", "model.safetensors": b"w"}, name="mine")
    assert stored_files(folder) == ["config.json", "model.safetensors", "source.json"]
    assert (folder / "config.json").read_bytes() == b"[]"
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_an_interrupted_pull_of_the_same_source_keeps_its_files(pull):
    files = {"config.json": b"{}", "model.safetensors": OSError(errno.ECONNRESET, "reset")}
    for _ in range(2):
        with pytest.raises(Unavailable, match="reset"):
            pull("hf:org/name", files)
        assert len(list(ModelStore().root.glob(".name.pull/*/config.json"))) == 1


def test_a_model_is_known_by_the_references_that_pulled_it(pull):
    folder, _ = pull("hf:org/name@v1.0", GGUFS | {"model.safetensors": b"w"})
    for reference in ("hf:org/name@v1.0", "hf:org/name", "org/name", f"hf:org/name@{COMMIT}"):
        assert stored_model_folder(reference) == folder
    for reference in ("hf:org/name@main", "hf:org/name/m.Q8_0.gguf", "hf:org/nam"):
        assert stored_model_folder(reference) is None
    assert pull("hf:org/name@main", GGUFS | {"model.safetensors": b"w"}) == (folder, True)
    assert stored_model_folder("hf:org/name@main") == stored_model_folder("hf:org/name@v1.0") == folder


def test_a_reference_that_stands_for_several_models_is_refused(pull):
    folders = [pull(f"hf:org/name/{path}", GGUFS)[0] for path in GGUFS]
    assert [stored_model_folder(f"hf:org/name/{path}") for path in GGUFS] == folders
    with pytest.raises(UserError, match=r"several models of the store: m\.Q4_0, m\.Q8_0\. Use one of these names"):
        stored_model_folder("hf:org/name")
    exact, _ = pull("hf:org/name", {"model.safetensors": b"w"})
    assert stored_model_folder("org/name") == exact


@pytest.mark.parametrize(
    ("unhashed", "words"),
    [
        ((), "SHA-256 verified"),
        (("config.json",), "SHA-256 of 1 of 2 files verified"),
        (("config.json", "model.safetensors"), "no SHA-256 stated"),
    ],
)
def test_only_files_with_a_stated_hash_count_as_verified(monkeypatch, unhashed, words):
    files = {"config.json": b"{}", "model.safetensors": b"w"}
    monkeypatch.setattr(hub_pull, "_import_hub", lambda: FakeHub(files, unhashed=unhashed))
    assert plan_pull("hf:org/name").verification == words


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_a_write_error_of_this_machine_is_not_one_of_the_hub(pull, number):
    error = OSError(number, os.strerror(number), "/disk/model.safetensors")
    with pytest.raises(SaveFailed, match=rf"Could not write /disk/model\.safetensors: {os.strerror(number)}"):
        pull("hf:org/name", {"model.safetensors": error})
