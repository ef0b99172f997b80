"""The pages with their assets: chat at `/`, the API at `/docs`, and those for special tasks.

They load nothing from other servers. Every page links to the others.
"""

from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Scope

from turnwise.server.minified_assets import MinifiedAssets
from turnwise.server.page_list import PAGES, Page

WEB = Path(__file__).parent.parent / "web"
_REVALIDATE = {"Cache-Control": "no-cache"}  # browsers cache, and ask whether the file has changed


class _Assets(MinifiedAssets):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_REVALIDATE)
        return response


def routes(*, chat: bool, available: Callable[[], Collection[str]]) -> list[BaseRoute]:
    """Return the routes of the pages and the assets.

    Args:
        chat: serve all pages, not only `/docs`.
        available: names of the pages for special tasks that the others link to; called at every request.
    """

    def linked_pages() -> list[Page]:
        names = {"chat", "playground", "docs", *available()} if chat else {"docs"}
        return [page for page in PAGES if page.name in names]

    served = [page for page in PAGES if chat or page.name == "docs"]
    return [*(_route(page, linked_pages) for page in served), Mount("/assets", _Assets(directory=WEB), name="assets")]


def _route(page: Page, linked_pages: Callable[[], list[Page]]) -> Route:
    async def respond(request: Request) -> Response:
        del request
        html = _environment().get_template(f"{page.name}.html").render(page=page, pages=linked_pages())
        return HTMLResponse(html, headers=_REVALIDATE)

    return Route(page.path, respond)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("turnwise.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
