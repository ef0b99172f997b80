"""The HTTP application: routes, what stands before them, and how errors leave."""

from collections.abc import Collection, Mapping
from functools import partial

from fastapi import FastAPI
from fastapi.middleware import Middleware

from turnwise import __version__
from turnwise.chat.service import ChatService
from turnwise.core.api_keys import KeyStore
from turnwise.server.error_responses import ErrorBody, add_error_handlers
from turnwise.server.instrumented_service import instrument
from turnwise.server.middleware.access_log import AccessLogMiddleware
from turnwise.server.middleware.api_key_auth import ApiKeyAuth, ApiKeyMiddleware
from turnwise.server.middleware.concurrency_limit import (
    ConcurrencyLimiter,
    ConcurrencyLimitMiddleware,
    ReceiveTimeoutMiddleware,
    ServerLimits,
)
from turnwise.server.middleware.drain import DrainMiddleware, DrainState
from turnwise.server.middleware.security import (
    CorsMiddleware,
    Http1Middleware,
    SameOriginMiddleware,
    SecurityHeadersMiddleware,
    ServerErrorMiddleware,
    parse_origin,
)
from turnwise.server.openapi import openapi_document
from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.server.routes import chat_completions as chat
from turnwise.server.routes import completions, conversations, embeddings, health, metrics, models, pages, responses
from turnwise.server.routes import stored_completions as stored
from turnwise.server.routes import tokenize as tokens
from turnwise.server.schema.request_body import DEFAULT_MAX_BODY_BYTES
from turnwise.server.served_models import LATEST, ServedModels
from turnwise.server.sse import SSE_KEEP_ALIVE_SECONDS

DESCRIPTION = "Chat completions in the OpenAI shape, conversations that are remembered, and the models behind them."


def create_app(
    services: Mapping[str, ChatService],
    *,
    default: str,
    web: bool = True,
    body_limit: int = DEFAULT_MAX_BODY_BYTES,
    allowed_hosts: Collection[str] = (),
    allow_origins: Collection[str] = (),
    keys: KeyStore | None = None,
    require_key: bool = False,
    limits: ServerLimits = ServerLimits(),
    ignore_unknown: bool = False,
    sse_keep_alive: float = SSE_KEEP_ALIVE_SECONDS,
) -> FastAPI:
    """The application that answers with `services`.

    Args:
        services: what is served, by the name a request gives; read anew at every request.
        default: the name that `latest` stands for, and that the page talks to. Conversations are kept in its store.
        web: whether `/` is the chat page.
        body_limit: most bytes of a request's body.
        allowed_hosts: further names that a `Host` header may carry on a loopback address, for a proxy on this machine.
        allow_origins: other origins whose pages may use the API.
        keys: the keys that let in; as soon as there is one, it is asked for.
        require_key: ask for a key even before there is one.
        limits: how much is taken on.
        sse_keep_alive: seconds without an event after which a stream sends a comment; also the most seconds that it
            waits for its first event before it begins.
        ignore_unknown: let unknown fields of a body pass, and name them in a header of the answer.

    What runs the application finds `gate`, `drain` and `keyring` in its `state`.

    Raises:
        ModelNotFound: `default` is not among the services.
        InvalidParameter: something in `allow_origins` is no origin.
    """
    limiter, drain, api_key_auth = ConcurrencyLimiter(limits), DrainState(), ApiKeyAuth(keys, require=require_key)
    server_metrics = ServerMetrics(num_running=lambda: limiter.num_running, num_waiting=lambda: limiter.num_waiting)
    served_models = ServedModels(services, default, watch=lambda service: instrument(service, server_metrics))
    served_models.find(LATEST)
    origins = frozenset(map(parse_origin, allow_origins))
    routers = [
        chat.router(served_models, body_limit),
        stored.router(served_models, body_limit),
        responses.router(served_models, body_limit),
        completions.router(served_models, body_limit),
        embeddings.router(served_models, body_limit),
        models.router(served_models),
        tokens.router(served_models, body_limit),
        conversations.router(served_models, body_limit),
        health.router(served_models, drain),
        metrics.router(server_metrics),
    ]
    files = pages.routes(chat=web)
    app = FastAPI(
        title="Turnwise",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # the framework's own pages load scripts from a network that may not be there
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": ErrorBody, "description": "Any error"}},
        middleware=[
            Middleware(
                AccessLogMiddleware,
                metrics=server_metrics,
                routes=[*(r for router in routers for r in router.routes), *files],
            ),
            Middleware(SecurityHeadersMiddleware),
            *([Middleware(CorsMiddleware, origins=origins)] if origins else []),
            Middleware(ServerErrorMiddleware),
            Middleware(Http1Middleware),
            Middleware(
                SameOriginMiddleware,
                allowed_hosts=allowed_hosts,
                origins=origins,
                is_key_required=lambda: api_key_auth.is_required,
            ),
            Middleware(DrainMiddleware, drain=drain),
            Middleware(ApiKeyMiddleware, api_key_auth=api_key_auth),
            Middleware(ReceiveTimeoutMiddleware),
            Middleware(ConcurrencyLimitMiddleware, limiter=limiter),
        ],
    )
    app.state.ignore_unknown, app.state.sse_keep_alive = ignore_unknown, sse_keep_alive
    app.state.limiter, app.state.drain, app.state.api_key_auth = limiter, drain, api_key_auth
    add_error_handlers(app)
    for router in routers:
        app.include_router(router)
    app.router.routes.extend(files)
    app.openapi = partial(openapi_document, app)  # type: ignore[method-assign]
    return app
