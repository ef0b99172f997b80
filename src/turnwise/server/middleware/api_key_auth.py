"""API keys: authentication and rate limits."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from turnwise.core.access import UNRESTRICTED
from turnwise.core.api_keys import VISIBLE_LENGTH, ApiKey, KeyStore
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.executors import KEY_STORE_EXECUTOR
from turnwise.server.error_responses import RequestRejected, error_response, internal_error
from turnwise.server.middleware.token_bucket import TokenBucket
from turnwise.server.page_list import PAGES
from turnwise.server.request_context import current_request

# All other paths need a key.
PUBLIC_PATHS = frozenset({*(page.path for page in PAGES), "/openapi.json", "/health", "/ready", "/service-worker.js"})
PUBLIC_PREFIX = "/assets/"
KEY_CACHE_SECONDS = 1.0  # after which a change made by another process applies
LAST_USED_INTERVAL_SECONDS = 60.0  # precision of "last used": not every request writes to disk

log = logging.getLogger("turnwise.server")


class ApiKeyAuth:
    """Checks API keys against a store, which is read again at most once per `KEY_CACHE_SECONDS`.

    Once the store has had a key, a key is required until the server stops: revoking the last key must not open the
    server to everybody.
    """

    def __init__(
        self, store: KeyStore | None, *, require: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Use the keys in `store`; with `require`, a key is required even if the store is empty."""
        self._store, self._clock = store, clock
        self._is_required = require
        self._keys: dict[str, ApiKey] = {}  # by prefix, like the next two
        self._buckets: dict[str, TokenBucket] = {}
        self._last_use_written: dict[str, float] = {}
        self._write_tasks: set[asyncio.Task[None]] = set()
        self._refresh_lock = asyncio.Lock()
        self._loaded_at = -math.inf
        self._failure: TurnwiseError | None = None
        self._failed_at = -math.inf

    def check_required(self) -> bool:
        """Read the store and return whether a key is required. Blocks, so not for the event loop."""
        if self._store is not None:
            self._replace_keys(list(self._store.list()))
        return self._is_required

    @property
    def is_required(self) -> bool:
        """Whether a key was required when the store was last read."""
        return self._is_required

    def expire(self) -> None:
        """Read the store again at the next request, because this process has changed it."""
        self._loaded_at = -math.inf

    async def authenticate(self, authorization: str | None) -> ApiKey | None:
        """Return the key in an `Authorization` header; None if no key is required.

        Raises:
            RequestRejected: 401 (missing or wrong key) or 429 (over the rate limit of the key).
            TurnwiseError: the store cannot be read.
        """
        await self._refresh()
        if not self._is_required:
            return None
        scheme, _, credential = (authorization or "").strip().partition(" ")
        credential = credential.strip()
        key = self._keys.get(credential[:VISIBLE_LENGTH])
        if scheme.lower() != "bearer" or key is None or not key.verify(credential):
            problem = "The API key is wrong" if credential else "An API key is missing"
            raise RequestRejected(
                401, "invalid_api_key",
                f"{problem}. Send one as 'Authorization: Bearer KEY'. "
                "`turnwise keys create` on the server creates one.",
            )  # fmt: skip
        current_request().key = key  # now, because the usage of a key includes what its rate limit rejects
        self._take_token(key)
        self._record_use(key)
        return key

    async def _refresh(self) -> None:
        if self._store is None or self._is_fresh():
            return
        async with self._refresh_lock:  # all requests wait: the cached keys may include one that was revoked
            if self._is_fresh():
                return
            now = self._clock()
            if self._failure is not None and now - self._failed_at < KEY_CACHE_SECONDS:
                raise self._failure  # requests that waited for a failed read need not repeat it one by one
            try:
                self._replace_keys(list(await KEY_STORE_EXECUTOR.run(self._store.list)))
            except TurnwiseError as error:
                self._failure, self._failed_at = error, self._clock()
                raise
            self._loaded_at, self._failure = now, None

    def _is_fresh(self) -> bool:
        return self._clock() - self._loaded_at < KEY_CACHE_SECONDS

    def _replace_keys(self, keys: list[ApiKey]) -> None:
        self._keys = {key.prefix: key for key in keys}
        self._is_required = self._is_required or bool(keys)
        for state_by_prefix in (self._buckets, self._last_use_written):
            for prefix in state_by_prefix.keys() - self._keys.keys():
                del state_by_prefix[prefix]

    def _take_token(self, key: ApiKey) -> None:
        if key.requests_per_minute is None:
            return
        now = self._clock()
        bucket = self._buckets.setdefault(key.prefix, TokenBucket(key.requests_per_minute, now))
        if wait := bucket.take(now):
            raise RequestRejected(
                429, "rate_limit_exceeded",
                f"The key '{key.name}' allows {key.requests_per_minute} requests per minute.",
                error_type="rate_limit_error", retry_after=math.ceil(wait),
            )  # fmt: skip

    def _record_use(self, key: ApiKey) -> None:
        now = self._clock()
        if now - self._last_use_written.get(key.prefix, -math.inf) >= LAST_USED_INTERVAL_SECONDS:
            self._last_use_written[key.prefix] = now
            task = asyncio.create_task(self._write_use(key))
            self._write_tasks.add(task)  # the event loop holds only weak references to tasks
            task.add_done_callback(self._write_tasks.discard)

    async def _write_use(self, key: ApiKey) -> None:
        assert self._store is not None
        try:
            await KEY_STORE_EXECUTOR.run(self._store.record_use, key.prefix, time.time())
        except TurnwiseError as error:  # for example a full disk; the request itself may continue
            log.warning("Could not store when the key '%s' was used: %s", key.name, error)


class ApiKeyMiddleware:
    """Requires an API key for all paths that are not public."""

    def __init__(self, app: ASGIApp, api_key_auth: ApiKeyAuth) -> None:
        self._app, self._api_key_auth = app, api_key_auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 429. If the store cannot be read, all requests get 503 or 500."""
        is_public = scope["type"] != "http" or _is_public(scope["path"])
        if not is_public:
            try:
                key = await self._api_key_auth.authenticate(Headers(scope=scope).get("authorization"))
                context = current_request()
                context.key, context.principal = key, UNRESTRICTED if key is None else key.principal
            except RequestRejected as rejection:
                await error_response(rejection)(scope, receive, send)
                return
            except TurnwiseError as error:
                log.error("Could not read the API keys: %s", error)
                is_busy = isinstance(error, Unavailable)
                response_error = (
                    Unavailable("The API keys cannot be read now. Try again soon.") if is_busy else internal_error()
                )
                await error_response(response_error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX)
