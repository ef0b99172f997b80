"""The pages with their assets: chat at `/`, the API at `/docs`, and those for special tasks.

They load nothing from other servers. Every page links to the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Scope

from turnwise.server.minified_assets import MinifiedAssets
from turnwise.server.page_files import VERSION_HEADER, files_version, service_worker

WEB = Path(__file__).parent.parent / "web"
_TEMPLATES = Path(__file__).parent.parent / "templates"
_REVALIDATE = {"Cache-Control": "no-cache"}  # browsers cache, and ask whether the file has changed


@dataclass(frozen=True, slots=True)
class Page:
    """A page: template, script and style sheet are called `name`."""

    path: str
    name: str
    label: str


_CHAT = Page("/", "chat", "Chat")
_PLAYGROUND = Page("/playground", "playground", "Playground")
_CLASSIFY = Page("/classify", "classify", "Classify")
_MONITOR = Page("/monitor", "monitor", "Monitor")
_HANDOFFS = Page("/handoffs", "handoffs", "Hand-offs")
_REVIEW = Page("/review", "review", "Review")
_IMPROVE = Page("/improve", "improve", "Improve")
_DATA = Page("/data", "data", "Data")
_RUNS = Page("/runs", "runs", "Train")
_DOCS = Page("/docs", "docs", "API")


class _Assets(MinifiedAssets):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_REVALIDATE)
        return response


def routes(
    *,
    chat: bool,
    has_classifiers: Callable[[], bool],
    has_monitor: bool,
    has_handoffs: bool,
    has_improvement: bool,
    has_datasets: bool,
    has_runs: bool,
) -> list[BaseRoute]:
    """Return the routes of the pages and the assets.

    Args:
        chat: serve the other pages too, not only `/docs`.
        has_classifiers: whether pages link to `/classify`; called at every request.
        has_monitor: whether pages link to `/monitor`.
        has_handoffs: whether pages link to `/handoffs` and `/review`, which need a store.
        has_improvement: whether pages link to `/improve`.
        has_datasets: whether pages link to `/data`.
        has_runs: whether pages link to `/runs`.
    """

    def linked_pages() -> list[Page]:
        if not chat:
            return [_DOCS]
        conditions = (
            (_CLASSIFY, has_classifiers()), (_MONITOR, has_monitor), (_HANDOFFS, has_handoffs), (_REVIEW, has_handoffs),
            (_IMPROVE, has_improvement), (_DATA, has_datasets), (_RUNS, has_runs),
        )  # fmt: skip
        return [_CHAT, _PLAYGROUND, *(page for page, is_linked in conditions if is_linked), _DOCS]

    pages = [_DOCS, *([_CHAT, _PLAYGROUND, _CLASSIFY, _MONITOR, _HANDOFFS, _REVIEW, _IMPROVE, _DATA, _RUNS] if chat else [])]
    return [
        *(_route(page, linked_pages, WEB) for page in pages),
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
        script = service_worker(_render(_CHAT, linked_pages(), version), version, web)
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
