"""The chat page and the page of the API's description: plain files, nothing from elsewhere."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).parent.parent / "web"


class _Assets(StaticFiles):
    """Files that a browser keeps but asks about each time, so that an update is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def routes(*, chat: bool) -> list[BaseRoute]:
    """`/docs`, and with `chat` the page at `/`."""
    pages = [_page("/docs", "docs.html")]
    if chat:
        pages.append(_page("/", "index.html"))
    return [*pages, Mount("/assets", _Assets(directory=WEB), name="assets")]


def _page(path: str, file: str) -> Route:
    async def page(request: Request) -> Response:
        del request
        return FileResponse(WEB / file, headers={"Cache-Control": "no-cache"})

    return Route(path, page)
