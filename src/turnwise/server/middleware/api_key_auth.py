"""Asking for a key: who may come in, and how often."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from turnwise.core.api_keys import VISIBLE_LENGTH, ApiKey, KeyStore
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.executors import KEY_STORE_EXECUTOR
from turnwise.server.error_responses import RequestRejected, error_response, internal_error
from turnwise.server.request_context import current_request

PUBLIC_PATHS = frozenset(
    {"/", "/docs", "/openapi.json", "/health", "/ready"}
)  # all else needs a key, also what is added later
PUBLIC_PREFIX = "/assets/"
KEY_CACHE_SECONDS = 1.0  # how long a change made by another process may go unnoticed
LAST_USED_INTERVAL_SECONDS = 60.0  # how exact "last used" is; noting every request would write to disk at every request

log = logging.getLogger("turnwise.server")


class TokenBucket:
    """A token bucket: holds a minute's worth of requests, and refills evenly."""

    def __init__(self, rate: int, now: float) -> None:
        self.requests_per_minute, self._tokens, self._updated_at = rate, float(rate), now

    def take(self, now: float) -> float:
        """Take one: 0 where there was one, else the seconds until there will be."""
        self._tokens = min(
            self.requests_per_minute, self._tokens + (now - self._updated_at) * self.requests_per_minute / 60
        )
        self._updated_at = now
        if self._tokens < 1:
            return (1 - self._tokens) * 60 / self.requests_per_minute
        self._tokens -= 1
        return 0.0


class ApiKeyAuth:
    """The keys of a store as a server knows them: read again every second in which somebody asks.

    Once a key was seen, keys are asked for until the server ends: revoking the last one must not open the door.
    """

    def __init__(
        self, store: KeyStore | None, *, require: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keys from `store`; with `require` one is asked for even before there is any."""
        self._store, self._clock = store, clock
        self._required = require
        self._keys: dict[str, ApiKey] = {}
        self._buckets: dict[str, TokenBucket] = {}
        self._last_use_written: dict[str, float] = {}
        self._write_tasks: set[asyncio.Task[None]] = set()
        self._loaded_at = -math.inf
        self._refresh_lock = asyncio.Lock()
        self._failure: TurnwiseError | None = None
        self._failed_at = -math.inf

    def check_required(self) -> bool:
        """Whether a key is asked for. Reads the store, so not for the event loop."""
        if self._store is not None:
            self._replace_keys(list(self._store.list()))
        return self._required

    @property
    def is_required(self) -> bool:
        """Whether a key was asked for when the keys were last read."""
        return self._required

    async def authenticate(self, authorization: str | None) -> ApiKey | None:
        """The key of a request; None where none is asked for. Raises `Refusal`: 401 or 429."""
        await self._refresh()
        if not self._required:
            return None
        scheme, _, credential = (authorization or "").strip().partition(" ")
        credential = credential.strip()
        key = self._keys.get(credential[:VISIBLE_LENGTH])
        if scheme.lower() != "bearer" or key is None or not key.verify(credential):
            problem = "The API key is wrong" if credential else "An API key is missing"
            raise RequestRejected(
                401, "invalid_api_key",
                f"{problem}. Send one as 'Authorization: Bearer KEY'; `turnwise keys create` on the server makes one.",
            )  # fmt: skip
        self._take(key)
        self._record_use(key)
        return key

    async def _refresh(self) -> None:
        if self._store is None or self._is_fresh():
            return
        async with self._refresh_lock:  # whoever comes meanwhile waits: what was known may let in whom it should not
            if self._is_fresh():
                return
            now = self._clock()
            if self._failure is not None and now - self._failed_at < KEY_CACHE_SECONDS:
                raise self._failure  # those that waited for the attempt need not repeat it one after the other
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
        self._required = self._required or bool(keys)
        for kept in (self._buckets, self._last_use_written):
            for gone in kept.keys() - self._keys.keys():
                del kept[gone]

    def _take(self, key: ApiKey) -> None:
        if key.requests_per_minute is None:
            return
        now = self._clock()
        bucket = self._buckets.setdefault(key.prefix, TokenBucket(key.requests_per_minute, now))
        if wait := bucket.take(now):
            raise RequestRejected(
                429, "rate_limit_exceeded", f"The key '{key.name}' allows {key.requests_per_minute} requests a minute.",
                kind="rate_limit_error", retry_after=math.ceil(wait),
            )  # fmt: skip

    def _record_use(self, key: ApiKey) -> None:
        now = self._clock()
        if now - self._last_use_written.get(key.prefix, -math.inf) >= LAST_USED_INTERVAL_SECONDS:
            self._last_use_written[key.prefix] = now
            task = asyncio.create_task(self._write_use(key))
            self._write_tasks.add(task)  # the event loop keeps no reference of its own
            task.add_done_callback(self._write_tasks.discard)

    async def _write_use(self, key: ApiKey) -> None:
        assert self._store is not None
        try:
            await KEY_STORE_EXECUTOR.run(self._store.record_use, key.prefix, time.time())
        except TurnwiseError as error:  # a full disk is no reason to turn somebody away
            log.warning("When the key '%s' was used could not be noted: %s", key.name, error)


class ApiKeyMiddleware:
    """Lets requests with a key in; without one, only to what is open."""

    def __init__(self, app: ASGIApp, api_key_auth: ApiKeyAuth) -> None:
        self._app, self._api_key_auth = app, api_key_auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 429; 503 or 500 where the keys cannot be read, which lets nobody in."""
        if (
            scope["type"] == "http"
            and scope["path"] not in PUBLIC_PATHS
            and not scope["path"].startswith(PUBLIC_PREFIX)
        ):
            try:
                current_request().key = await self._api_key_auth.authenticate(Headers(scope=scope).get("authorization"))
            except RequestRejected as rejection:
                await error_response(rejection)(scope, receive, send)
                return
            except TurnwiseError as error:
                log.error("The keys could not be read: %s", error)
                busy = isinstance(error, Unavailable)
                shown = Unavailable("The API keys cannot be read now. Try again soon.") if busy else internal_error()
                await error_response(shown)(scope, receive, send)
                return
        await self._app(scope, receive, send)
