"""Serves scripts and style sheets without their comments and indentation. The files themselves stay readable."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from os import PathLike, stat_result
from pathlib import Path

import rcssmin
import rjsmin
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

_MINIFIERS: dict[str, tuple[str, Callable[[str], str]]] = {
    ".css": ("text/css", rcssmin.cssmin),
    ".js": ("text/javascript", rjsmin.jsmin),
}


class MinifiedAssets(StaticFiles):
    """The files of a folder. `.js` and `.css` files are minified, except those in `vendor`, which are as published."""

    def file_response(
        self, full_path: PathLike[str] | str, stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the response with a file, or 304 if the client has it."""
        path = Path(full_path)
        if path.suffix not in _MINIFIERS or "vendor" in path.parts:
            return super().file_response(full_path, stat_result, scope, status_code)
        media_type, _ = _MINIFIERS[path.suffix]
        content, etag = _minify(path.suffix, path.read_bytes())
        response = Response(content, status_code, {"ETag": etag}, media_type)
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


@lru_cache(maxsize=256)
def _minify(suffix: str, source: bytes) -> tuple[bytes, str]:
    """Return the minified source and its ETag. The cache is by content, so that a changed file is minified again."""
    _, minify = _MINIFIERS[suffix]
    content = minify(source.decode()).encode()
    return content, f'"{hashlib.sha256(content).hexdigest()}"'
