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
from turnwise.server.page_files import VERSION_HEADER, files_version, service_worker
from turnwise.server.page_list import CHAT, PAGES, Page

WEB = Path(__file__).parent.parent / "web"
_TEMPLATES = Path(__file__).parent.parent / "templates"
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
    return [
        *(_route(page, linked_pages, WEB) for page in served),
        *([_service_worker_route(linked_pages, WEB)] if chat else []),
        Mount("/assets", _Assets(directory=WEB), name="assets"),
    ]


def _route(page: Page, linked_pages: Callable[[], list[Page]], web: Path) -> Route:
    def respond(request: Request) -> Response:  # in a thread, as it reads files
        del request
        version = files_version(web, _TEMPLATES)
        return HTMLResponse(_render(page, linked_pages(), version), headers={**_REVALIDATE, VERSION_HEADER: version})

    return Route(page.path, respond)


def _service_worker_route(linked_pages: Callable[[], list[Page]], web: Path) -> Route:
    def respond(request: Request) -> Response:
        del request
        version = files_version(web, _TEMPLATES)
        script = service_worker(_render(CHAT, linked_pages(), version), version, web)
        return Response(script, headers=_REVALIDATE, media_type="text/javascript")

    return Route("/service-worker.js", respond)


def _render(page: Page, linked_pages: list[Page], version: str) -> str:
    template = _environment().get_template(f"{page.name}.html")
    return template.render(page=page, pages=linked_pages, version=version)


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
