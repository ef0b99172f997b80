"""Builds the FastAPI application: routes, middleware, error handlers."""

from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType

from fastapi import Depends, FastAPI
from fastapi.middleware import Middleware

from turnwise import __version__
from turnwise.core.api_keys import KeyStore
from turnwise.core.chat_service import ChatService
from turnwise.core.classification_service import ClassificationService
from turnwise.core.collected_answers import Consent
from turnwise.core.conversation_trees import ConversationFiles
from turnwise.core.datasets import DatasetBrowser
from turnwise.core.embedding_service import EmbeddingService
from turnwise.core.improvement_reports import ImprovementReader
from turnwise.core.key_usage import KeyUsageStore
from turnwise.core.knowledge_service import KnowledgeService
from turnwise.core.monitor_store import MonitorReader
from turnwise.core.runs import RunManager
from turnwise.core.served_versions import VersionControl
from turnwise.server.background_answers import BackgroundAnswers
from turnwise.server.consent_policy import ConsentPolicy
from turnwise.server.conversation_titles import TitleWriter
from turnwise.server.document_upload import DEFAULT_MAX_DATASET_BYTES, DEFAULT_MAX_DOCUMENT_BYTES
from turnwise.server.error_responses import ErrorBody, add_error_handlers
from turnwise.server.instrumented_service import (
    InstrumentedClassificationService,
    InstrumentedEmbeddingService,
    InstrumentedService,
)
from turnwise.server.middleware.access_log import AccessLogMiddleware
from turnwise.server.middleware.api_key_auth import ApiKeyAuth, ApiKeyMiddleware
from turnwise.server.middleware.concurrency_limit import ConcurrencyLimiter, ConcurrencyLimitMiddleware, ServerLimits
from turnwise.server.middleware.cors import CorsMiddleware, parse_origin
from turnwise.server.middleware.drain import DrainMiddleware, DrainState
from turnwise.server.middleware.http1 import Http1Middleware
from turnwise.server.middleware.same_origin import SameOriginMiddleware
from turnwise.server.middleware.security_headers import SecurityHeadersMiddleware
from turnwise.server.middleware.server_errors import ServerErrorMiddleware
from turnwise.server.middleware.timeouts import ReceiveTimeoutMiddleware
from turnwise.server.openapi import openapi_document
from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.server.route_roles import check_role
from turnwise.server.routes import (
    attention,
    chat_completions,
    classification,
    comparisons,
    completions,
    conversations,
    customer_handoffs,
    embeddings,
    feedback,
    folders,
    handoffs,
    health,
    improvements,
    metrics,
    models,
    pages,
    responses,
    review,
    scenarios,
    stored_completions,
    token_distributions,
    tokenize,
    versions,
)
from turnwise.server.routes import (
    background_answers as background_answers_routes,
)
from turnwise.server.routes import (
    conversation_files as conversation_files_routes,
)
from turnwise.server.routes import (
    datasets as dataset_routes,
)
from turnwise.server.routes import (
    keys as key_routes,
)
from turnwise.server.routes import (
    knowledge as knowledge_routes,
)
from turnwise.server.routes import (
    monitor as monitor_routes,
)
from turnwise.server.routes import (
    runs as run_routes,
)
from turnwise.server.schema.request_body import DEFAULT_MAX_BODY_BYTES
from turnwise.server.served_models import LATEST, ServedModels
from turnwise.server.sse import SSE_KEEP_ALIVE_SECONDS
from turnwise.server.usage_recorder import UsageRecorder

DESCRIPTION = "OpenAI-compatible API for chat models, with stored conversations and feedback."


def create_app(
    services: Mapping[str, ChatService],
    *,
    default: str,
    embedding_services: Mapping[str, EmbeddingService] = MappingProxyType({}),
    classifiers: Mapping[str, ClassificationService] = MappingProxyType({}),
    knowledge: Mapping[str, KnowledgeService] = MappingProxyType({}),
    monitor: MonitorReader | None = None,
    version_control: VersionControl | None = None,
    improvement: ImprovementReader | None = None,
    runs: RunManager | None = None,
    datasets: DatasetBrowser | None = None,
    has_handoffs: bool = False,
    conversation_files: ConversationFiles | None = None,
    auto_titles: bool = True,
    collect: Consent = "full",
    web: bool = True,
    body_limit: int = DEFAULT_MAX_BODY_BYTES,
    document_limit: int = DEFAULT_MAX_DOCUMENT_BYTES,
    dataset_limit: int = DEFAULT_MAX_DATASET_BYTES,
    allowed_hosts: Collection[str] = (),
    allow_origins: Collection[str] = (),
    keys: KeyStore | None = None,
    key_usage: KeyUsageStore | None = None,
    require_key: bool = False,
    limits: ServerLimits = ServerLimits(),
    ignore_unknown: bool = False,
    sse_keep_alive: float = SSE_KEEP_ALIVE_SECONDS,
) -> FastAPI:
    """Create the application.

    Its `state` has `limiter`, `drain`, `api_key_auth`, `background_answers` and `usage_recorder`, which `serve` uses.

    Args:
        services: chat services by served name; read at every request.
        default: served name that the alias `latest` stands for. Conversations are stored in the store of this service.
        embedding_services: embedding models by served name. On `/v1/embeddings`, `latest` stands for the first one.
        classifiers: classifiers and taggers by served name. `latest` stands for the first that a route can use.
        knowledge: knowledge bases by name, for `/v1/knowledge`. The chat services have them too.
        monitor: text monitor that `/v1/monitor` and the page `/monitor` show.
        version_control: promotes versions of the served models, for `/v1/versions`.
        improvement: cycles of `turnwise improve`, which `/v1/improvements` and the page `/improve` show.
        runs: trainings and evaluations, which `/v1/runs` and the page `/runs` start and show.
        datasets: data sets that `/v1/datasets` and the page `/data` show.
        has_handoffs: pages link to `/handoffs`, where people answer customers, and to `/review`.
        conversation_files: reads and writes files, for the export and import of conversations.
        auto_titles: let the model write titles of conversations that ask for it.
        collect: the most that is collected of requests, to improve the model.
        web: serve the chat page at `/` and the other pages.
        body_limit: maximum size of a JSON body, in bytes.
        document_limit: maximum size of a document that is added to a knowledge base, in bytes.
        dataset_limit: maximum size of a data set that is uploaded, in bytes.
        allowed_hosts: further values of the `Host` header on a loopback address, for a proxy on this machine.
        allow_origins: origins of other web sites that may use the API.
        keys: API keys. If it has any, a key is required.
        key_usage: stores the usage of the keys. None: it is not counted.
        require_key: require a key even if there is none yet.
        limits: limits of completions.
        ignore_unknown: ignore unknown fields in bodies, and list them in a response header.
        sse_keep_alive: seconds without an event after which a stream sends a comment; also the maximum seconds that a
            stream waits for its first event before the response starts.

    Raises:
        ModelNotFound: `default` is not in `services`.
        InvalidParameter: an allowed origin is not an origin.
    """
    limiter, drain, api_key_auth = ConcurrencyLimiter(limits), DrainState(), ApiKeyAuth(keys, require=require_key)
    server_metrics = ServerMetrics(
        num_running=lambda: limiter.num_running,
        num_waiting=lambda: limiter.num_waiting,
        loaded_versions=lambda: served_models.loaded_versions(),
    )
    consent_policy = ConsentPolicy(collect)
    usage_recorder = None if key_usage is None else UsageRecorder(key_usage)
    served_models = ServedModels(
        services,
        default,
        instrument=lambda service: InstrumentedService(service, server_metrics, consent_policy),
        embedding_services=embedding_services,
        instrument_embeddings=lambda service: InstrumentedEmbeddingService(service, server_metrics),
        classifiers=classifiers,
        instrument_classifier=lambda service: InstrumentedClassificationService(service, server_metrics),
        consent_policy=consent_policy,
    )
    served_models.find(LATEST)  # raises if there is no default model
    background, titles = BackgroundAnswers(limiter), TitleWriter(limiter, auto_titles)
    origins = frozenset(map(parse_origin, allow_origins))

    def available_pages() -> set[str]:
        conditions = {
            "classify": bool(classifiers),
            "monitor": monitor is not None,
            "handoffs": has_handoffs,
            "review": has_handoffs,
            "data": datasets is not None,
            "runs": runs is not None,
            "improve": improvement is not None,
            "versions": version_control is not None and bool(served_models.versioned_services()),
            "keys": keys is not None,
        }
        return {name for name, is_available in conditions.items() if is_available}

    routers = [
        chat_completions.router(served_models, body_limit, background, titles),
        stored_completions.router(served_models, body_limit),
        feedback.router(served_models, body_limit),
        comparisons.router(served_models, body_limit),
        review.router(served_models, body_limit),
        responses.router(served_models, body_limit),
        completions.router(served_models, body_limit),
        embeddings.router(served_models, body_limit),
        classification.router(served_models, body_limit),
        scenarios.router(served_models),
        knowledge_routes.router(knowledge, body_limit, document_limit),
        models.router(served_models, has_monitor=monitor is not None),
        tokenize.router(served_models, body_limit),
        token_distributions.router(served_models, body_limit),
        attention.router(served_models, body_limit),
        conversation_files_routes.router(served_models, conversation_files, body_limit),
        conversations.router(served_models, body_limit, background),
        background_answers_routes.router(served_models, background),
        folders.router(served_models, body_limit),
        handoffs.router(served_models, body_limit, drain),
        customer_handoffs.router(served_models, body_limit, drain),
        monitor_routes.router(monitor),
        key_routes.router(keys, key_usage, api_key_auth, body_limit),
        versions.router(version_control, served_models, body_limit),
        improvements.router(improvement, served_models),
        run_routes.router(runs, body_limit, drain),
        dataset_routes.router(datasets, dataset_limit),
        health.router(served_models, drain),
        metrics.router(server_metrics),
    ]
    page_routes = pages.routes(chat=web, available=available_pages)
    all_routes = [*(route for router in routers for route in router.routes), *page_routes]
    app = FastAPI(
        title="Turnwise",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's pages load scripts from the internet; `/docs` is ours
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(check_role)],
        responses={"default": {"model": ErrorBody, "description": "Any error"}},
        middleware=[  # outermost first
            Middleware(
                AccessLogMiddleware, metrics=server_metrics, routes=all_routes,
                record_usage=None if usage_recorder is None else usage_recorder.record,
            ),
            Middleware(SecurityHeadersMiddleware),
            *([Middleware(CorsMiddleware, origins=origins)] if origins else []),
            Middleware(ServerErrorMiddleware),
            Middleware(Http1Middleware),
            Middleware(
                SameOriginMiddleware, allowed_hosts=allowed_hosts, origins=origins,
                is_key_required=lambda: api_key_auth.is_required,
            ),
            Middleware(DrainMiddleware, drain=drain),
            Middleware(ApiKeyMiddleware, api_key_auth=api_key_auth),
            Middleware(ReceiveTimeoutMiddleware),
            Middleware(ConcurrencyLimitMiddleware, limiter=limiter),
        ],
    )  # fmt: skip
    app.state.ignore_unknown, app.state.sse_keep_alive = ignore_unknown, sse_keep_alive
    app.state.limiter, app.state.drain, app.state.api_key_auth = limiter, drain, api_key_auth
    app.state.background_answers, app.state.usage_recorder = background, usage_recorder
    add_error_handlers(app)
    for router in routers:
        app.include_router(router)
    app.router.routes.extend(page_routes)
    app.openapi = partial(openapi_document, app)  # type: ignore[method-assign]
    return app
