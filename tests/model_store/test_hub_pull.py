"""Models of a hub, with `huggingface_hub` against a hub of our own on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from turnwise.app.model_store.hub_pull import REFERENCE, HubFile, select_files
from turnwise.core.errors import InvalidParameter, UserError

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
    ],
)
def test_a_reference_names_a_repository_a_file_and_a_revision(reference, fields):
    assert REFERENCE.fullmatch(reference).group("repository", "file", "revision") == fields


@pytest.mark.parametrize("reference", ["hf:n", "hf:o/n/x", "hf:o/n/x.bin", "hf:o/n@", "hf:o/n@a b"])
def test_another_form_is_no_reference(reference):
    assert REFERENCE.fullmatch(reference) is None


def test_safetensors_are_taken_with_tokenizer_and_configs_and_without_copies_in_other_formats():
    paths = ["config.json", "1_Pooling/config.json", "tokenizer.model", "chat_template.jinja", "model.safetensors"]
    ignored = ["pytorch_model.bin", "consolidated.safetensors", "onnx/model.onnx", "run.py", "x.gguf", "../up.json"]
    assert selected(*paths, *ignored) == paths


def test_of_several_gguf_files_one_has_to_be_named():
    assert selected("README.md", "q4.gguf") == ["q4.gguf"]
    assert selected("q4.gguf", "q8.gguf", gguf="q8.gguf") == ["q8.gguf"]
    with pytest.raises(InvalidParameter, match=r"2 GGUF files; name one: hf:o/n/q4\.gguf, hf:o/n/q8\.gguf"):
        selected("q4.gguf", "q8.gguf")
    with pytest.raises(InvalidParameter, match=r"has no file q5\.gguf"):
        selected("q4.gguf", gguf="q5.gguf")


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
