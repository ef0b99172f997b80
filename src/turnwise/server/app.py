"""The HTTP application: routes, what stands before them, and how errors leave."""

from collections.abc import Collection, Mapping
from functools import partial

from fastapi import FastAPI
from fastapi.middleware import Middleware

from turnwise import __version__
from turnwise.chat.service import ChatService
from turnwise.server.body import DEFAULT_LIMIT
from turnwise.server.errors import ErrorBody, handle_errors
from turnwise.server.guards import AccessLog, CatchMistakes, SameOrigin, SecurityHeaders
from turnwise.server.openapi import describe
from turnwise.server.routes import chat, conversations, health, models, pages
from turnwise.server.served import LATEST, Served

DESCRIPTION = "Chat completions in the OpenAI shape, conversations that are remembered, and the models behind them."


def create_app(
    services: Mapping[str, ChatService],
    *,
    default: str,
    web: bool = True,
    body_limit: int = DEFAULT_LIMIT,
    allowed_hosts: Collection[str] = (),
) -> FastAPI:
    """The application that answers with `services`.

    Args:
        services: what is served, by the name a request gives; read anew at every request.
        default: the name that `latest` stands for, and that the page talks to. Conversations are kept in its store.
        web: whether `/` is the chat page.
        body_limit: most bytes of a request's body.
        allowed_hosts: further names that a `Host` header may carry on a loopback address, for a proxy on this machine.

    Raises:
        ModelNotFound: `default` is not among the services.
    """
    served = Served(services, default)
    served.find(LATEST)
    app = FastAPI(
        title="Turnwise",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # the framework's own pages load scripts from a network that may not be there
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": ErrorBody, "description": "Any error"}},
        middleware=[
            Middleware(AccessLog),
            Middleware(SecurityHeaders),
            Middleware(CatchMistakes),
            Middleware(SameOrigin, allowed_hosts=allowed_hosts),
        ],
    )
    handle_errors(app)
    app.include_router(chat.router(served, body_limit))
    app.include_router(models.router(served))
    app.include_router(conversations.router(served, body_limit))
    app.include_router(health.router(served))
    app.router.routes.extend(pages.routes(chat=web))
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app
