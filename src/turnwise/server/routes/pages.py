"""The pages: chat at `/`, `/classify`, `/monitor`, and the API description at `/docs`, with their assets.

They load nothing from other servers.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).parent.parent / "web"
_REVALIDATE = {"Cache-Control": "no-cache"}  # browsers cache, and ask whether the file has changed


class _Assets(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_REVALIDATE)
        return response


def routes(*, chat: bool) -> list[BaseRoute]:
    """Return the routes of `/docs` and the assets, and of the other pages if `chat` is set."""
    pages = [_page("/docs", "docs.html")]
    if chat:
        pages += [_page("/", "index.html"), _page("/classify", "classify.html"), _page("/monitor", "monitor.html")]
    return [*pages, Mount("/assets", _Assets(directory=WEB), name="assets")]


def _page(path: str, file: str) -> Route:
    async def page(request: Request) -> Response:
        del request
        return FileResponse(WEB / file, headers=_REVALIDATE)

    return Route(path, page)
