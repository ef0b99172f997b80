"""The files of the chat page that its service worker keeps, and the version of all files of the pages."""

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path

import rjsmin

VERSION_HEADER = "x-turnwise-assets"
_ASSETS = "/assets/"
_TEMPLATE_PATH = re.compile(r'(?:href|src)="/assets/([^"]+)"')
_SCRIPT_PATH = re.compile(r"""["'`]((?:\.{1,2}|/assets)/[^"'`\s]+)["'`]""")
_STYLE_PATH = re.compile(r"""url\(["']?([^"')]+)""")
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


def files_version(*folders: Path) -> str:
    """Hash of the names and contents of all files in folders. They are read again only after a change."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return _hash(tuple((path, stat.st_mtime_ns, stat.st_size) for path in paths for stat in [path.stat()]))


@lru_cache(maxsize=4)
def _hash(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:20]


def files_of_page(html: str, web: Path) -> list[str]:
    """Paths of all files that a page can load: those in its HTML, and those that they name in turn.

    Args:
        html: the page.
        web: folder of the files.
    """
    web = web.resolve()
    waiting = [web / name for name in _TEMPLATE_PATH.findall(html)]
    files: set[Path] = set()
    while waiting:
        path = waiting.pop().resolve()
        if path in files or not path.is_relative_to(web) or not path.is_file():
            continue
        files.add(path)
        waiting += _named_files(path, web)
    return sorted(f"{_ASSETS}{path.relative_to(web).as_posix()}" for path in files)


def _named_files(path: Path, web: Path) -> list[Path]:
    """The files that a script or a style sheet names. A placeholder in a path stands for any text."""
    pattern = {".js": _SCRIPT_PATH, ".css": _STYLE_PATH, ".webmanifest": _SCRIPT_PATH}.get(path.suffix)
    if pattern is None:
        return []
    files: list[Path] = []
    for name in pattern.findall(path.read_text(encoding="utf-8")):
        folder, relative = (web, name.removeprefix(_ASSETS)) if name.startswith(_ASSETS) else (path.parent, name)
        if _PLACEHOLDER.search(relative):
            files += folder.glob(_PLACEHOLDER.sub("*", relative.removeprefix("./")))
        elif ":" not in relative:  # of a data URL
            files.append(folder / relative)
    return files


@lru_cache(maxsize=4)
def service_worker(html: str, version: str, web: Path) -> str:
    """The script of the service worker for a page. It changes with every file; `version` is that of all files."""
    source = (web / "service_worker.js").read_text(encoding="utf-8")
    files = json.dumps(files_of_page(html, web))
    return f"const VERSION={json.dumps(version)},FILES={files};{rjsmin.jsmin(source)}"
