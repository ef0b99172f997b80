"""The HTTP application: routes, what stands before them, and how errors leave."""

from collections.abc import Collection, Mapping
from functools import partial

from fastapi import FastAPI
from fastapi.middleware import Middleware

from turnwise import __version__
from turnwise.chat.service import ChatService
from turnwise.core.api_keys import KeyStore
from turnwise.server.schema.request_body import DEFAULT_LIMIT
from turnwise.server.middleware.drain import Drain, Draining
from turnwise.server.error_responses import ErrorBody, handle_errors
from turnwise.server.middleware.security import AllowOrigins, CatchMistakes, Http1, SameOrigin, SecurityHeaders, read_origin
from turnwise.server.middleware.api_key_auth import AskKey, Keyring
from turnwise.server.middleware.concurrency_limit import Arrival, Bounded, Gate, Limits
from turnwise.server.middleware.access_log import Observe
from turnwise.server.prometheus_metrics import Metrics
from turnwise.server.openapi import describe
from turnwise.server.routes import completions, conversations, embeddings, health, metrics, models, pages, responses
from turnwise.server.routes import chat_completions as chat
from turnwise.server.routes import stored_completions as stored
from turnwise.server.routes import tokenize as tokens
from turnwise.server.served_models import LATEST, Served
from turnwise.server.sse import KEEP_ALIVE_SECONDS
from turnwise.server.instrumented_service import watched

DESCRIPTION = "Chat completions in the OpenAI shape, conversations that are remembered, and the models behind them."


def create_app(
    services: Mapping[str, ChatService],
    *,
    default: str,
    web: bool = True,
    body_limit: int = DEFAULT_LIMIT,
    allowed_hosts: Collection[str] = (),
    allow_origins: Collection[str] = (),
    keys: KeyStore | None = None,
    require_key: bool = False,
    limits: Limits = Limits(),
    ignore_unknown: bool = False,
    sse_keep_alive: float = KEEP_ALIVE_SECONDS,
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
    gate, drain, keyring = Gate(limits), Drain(), Keyring(keys, require=require_key)
    counted = Metrics(running=lambda: gate.running, waiting=lambda: gate.waiting)
    served = Served(services, default, watch=lambda service: watched(service, counted))
    served.find(LATEST)
    origins = frozenset(map(read_origin, allow_origins))
    routers = [
        chat.router(served, body_limit),
        stored.router(served, body_limit),
        responses.router(served, body_limit),
        completions.router(served, body_limit),
        embeddings.router(served, body_limit),
        models.router(served),
        tokens.router(served, body_limit),
        conversations.router(served, body_limit),
        health.router(served, drain),
        metrics.router(counted),
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
            Middleware(Observe, metrics=counted, routes=[*(r for router in routers for r in router.routes), *files]),
            Middleware(SecurityHeaders),
            *([Middleware(AllowOrigins, origins=origins)] if origins else []),
            Middleware(CatchMistakes),
            Middleware(Http1),
            Middleware(SameOrigin, allowed_hosts=allowed_hosts, origins=origins, key_asked=lambda: keyring.asks),
            Middleware(Draining, drain=drain),
            Middleware(AskKey, keyring=keyring),
            Middleware(Arrival),
            Middleware(Bounded, gate=gate),
        ],
    )
    app.state.ignore_unknown, app.state.sse_keep_alive = ignore_unknown, sse_keep_alive
    app.state.gate, app.state.drain, app.state.keyring = gate, drain, keyring
    handle_errors(app)
    for router in routers:
        app.include_router(router)
    app.router.routes.extend(files)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app
