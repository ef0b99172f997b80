"""Asking for a key: who may come in, and how often."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from turnwise.core.executors import KEY_CALLS
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.api_keys import SHOWN, ApiKey, KeyStore
from turnwise.server.error_responses import Refusal, error_response, unexpected
from turnwise.server.request_context import current

OPEN = frozenset({"/", "/docs", "/openapi.json", "/health", "/ready"})  # all else needs a key, also what is added later
OPEN_FOLDER = "/assets/"
FRESH_SECONDS = 1.0  # how long a change made by another process may go unnoticed
NOTED_SECONDS = 60.0  # how exact "last used" is; noting every request would write to disk at every request

log = logging.getLogger("turnwise.server")


class Bucket:
    """A token bucket: holds a minute's worth of requests, and refills evenly."""

    def __init__(self, rate: int, now: float) -> None:
        self.rate, self._left, self._at = rate, float(rate), now

    def take(self, now: float) -> float:
        """Take one: 0 where there was one, else the seconds until there will be."""
        self._left = min(self.rate, self._left + (now - self._at) * self.rate / 60)
        self._at = now
        if self._left < 1:
            return (1 - self._left) * 60 / self.rate
        self._left -= 1
        return 0.0


class Keyring:
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
        self._buckets: dict[str, Bucket] = {}
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()
        self._read = -math.inf
        self._reading = asyncio.Lock()
        self._failure: TurnwiseError | None = None
        self._failed = -math.inf

    def required(self) -> bool:
        """Whether a key is asked for. Reads the store, so not for the event loop."""
        if self._store is not None:
            self._learn(list(self._store.list()))
        return self._required

    @property
    def asks(self) -> bool:
        """Whether a key was asked for when the keys were last read."""
        return self._required

    async def admit(self, authorization: str | None) -> ApiKey | None:
        """The key of a request; None where none is asked for. Raises `Refusal`: 401 or 429."""
        await self._refresh()
        if not self._required:
            return None
        scheme, _, said = (authorization or "").strip().partition(" ")
        said = said.strip()
        key = self._keys.get(said[:SHOWN])
        if scheme.lower() != "bearer" or key is None or not key.opens_with(said):
            problem = "The API key is wrong" if said else "An API key is missing"
            raise Refusal(
                401, "invalid_api_key",
                f"{problem}. Send one as 'Authorization: Bearer KEY'; `turnwise keys create` on the server makes one.",
            )  # fmt: skip
        self._take(key)
        self._note_use(key)
        return key

    async def _refresh(self) -> None:
        if self._store is None or self._fresh():
            return
        async with self._reading:  # whoever comes meanwhile waits: what was known may let in whom it should not
            if self._fresh():
                return
            now = self._clock()
            if self._failure is not None and now - self._failed < FRESH_SECONDS:
                raise self._failure  # those that waited for the attempt need not repeat it one after the other
            try:
                self._learn(list(await KEY_CALLS.run(self._store.list)))
            except TurnwiseError as error:
                self._failure, self._failed = error, self._clock()
                raise
            self._read, self._failure = now, None

    def _fresh(self) -> bool:
        return self._clock() - self._read < FRESH_SECONDS

    def _learn(self, keys: list[ApiKey]) -> None:
        self._keys = {key.prefix: key for key in keys}
        self._required = self._required or bool(keys)
        for kept in (self._buckets, self._noted):
            for gone in kept.keys() - self._keys.keys():
                del kept[gone]

    def _take(self, key: ApiKey) -> None:
        if key.requests_per_minute is None:
            return
        now = self._clock()
        bucket = self._buckets.setdefault(key.prefix, Bucket(key.requests_per_minute, now))
        if wait := bucket.take(now):
            raise Refusal(
                429, "rate_limit_exceeded", f"The key '{key.name}' allows {key.requests_per_minute} requests a minute.",
                kind="rate_limit_error", retry_after=math.ceil(wait),
            )  # fmt: skip

    def _note_use(self, key: ApiKey) -> None:
        now = self._clock()
        if now - self._noted.get(key.prefix, -math.inf) >= NOTED_SECONDS:
            self._noted[key.prefix] = now
            task = asyncio.create_task(self._write_use(key))
            self._notes.add(task)  # the event loop keeps no reference of its own
            task.add_done_callback(self._notes.discard)

    async def _write_use(self, key: ApiKey) -> None:
        assert self._store is not None
        try:
            await KEY_CALLS.run(self._store.note_use, key.prefix, time.time())
        except TurnwiseError as error:  # a full disk is no reason to turn somebody away
            log.warning("When the key '%s' was used could not be noted: %s", key.name, error)


class AskKey:
    """Lets requests with a key in; without one, only to what is open."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app, self._keyring = app, keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 429; 503 or 500 where the keys cannot be read, which lets nobody in."""
        if scope["type"] == "http" and scope["path"] not in OPEN and not scope["path"].startswith(OPEN_FOLDER):
            try:
                current().key = await self._keyring.admit(Headers(scope=scope).get("authorization"))
            except Refusal as refusal:
                await error_response(refusal)(scope, receive, send)
                return
            except TurnwiseError as error:
                log.error("The keys could not be read: %s", error)
                busy = isinstance(error, Unavailable)
                shown = Unavailable("The API keys cannot be read now. Try again soon.") if busy else unexpected()
                await error_response(shown)(scope, receive, send)
                return
        await self._app(scope, receive, send)
