"""`/v1/keys`: API keys of the server. `/v1/usage`: how much each key uses the models."""

import time
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from turnwise.core.api_keys import ApiKey, KeyStore
from turnwise.core.errors import InvalidParameter, NotFound
from turnwise.core.executors import KEY_STORE_EXECUTOR, KEY_USAGE_EXECUTOR
from turnwise.core.key_usage import USAGE_DAYS, KeyUsageStore, utc_day
from turnwise.server.middleware.api_key_auth import ApiKeyAuth
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.key_bodies import DeletedKey, KeyBody, KeyList, KeyRequest, NewKeyBody, UsageList
from turnwise.server.schema.request_body import read_body

DEFAULT_USAGE_DAYS = 30


def router(
    keys: KeyStore | None, usage: KeyUsageStore | None, api_key_auth: ApiKeyAuth, max_body_bytes: int
) -> APIRouter:
    """Return the routes. Without a store of keys or of usage, its routes answer 404."""
    routes = APIRouter(tags=["keys"])

    def opened_keys() -> KeyStore:
        if keys is None:
            raise NotFound("This server has no store of API keys.")
        return keys

    def create(body: KeyRequest) -> tuple[str, ApiKey]:
        store = opened_keys()
        if body.role != "admin" and not any(key.role == "admin" for key in store.list()):
            raise InvalidParameter(
                "role", "The first key must be that of an admin: without one, nobody could manage the server over HTTP."
            )
        key = store.create(
            body.name, role=body.role, requests_per_minute=body.requests_per_minute,
            max_concurrent=body.max_concurrent, consent=body.collect,
        )  # fmt: skip
        return key, next(stored for stored in store.list() if stored.verify(key))

    def revoke(name: str) -> ApiKey:
        store = opened_keys()
        stored = next((key for key in store.list() if key.name == name), None)
        if stored is None:
            raise NotFound(f"There is no key '{name[:64]}'.")
        return store.revoke(stored.prefix, keep_last_admin=True)

    @routes.get("/v1/keys")
    @requires("admin")
    async def list_keys() -> KeyList:
        """List the API keys, oldest first. The keys themselves are not stored."""
        stored = await KEY_STORE_EXECUTOR.run(opened_keys().list)
        current = current_request().key
        required = api_key_auth.is_required or bool(stored)
        return KeyList(data=[KeyBody.of(key, current) for key in stored], required=required)

    @routes.post("/v1/keys", openapi_extra=json_request_body(KeyRequest))
    @requires("admin")
    async def create_key(request: Request, response: Response) -> NewKeyBody:
        """Create an API key. Only this response has the key itself.

        As soon as there is a key, the server requires one. The first one must be that of an admin.
        """
        key, stored = await KEY_STORE_EXECUTOR.run(create, await read_body(request, KeyRequest, max_body_bytes))
        api_key_auth.expire()
        response.headers["Cache-Control"] = "no-store"
        return NewKeyBody(key=key, **KeyBody.of(stored, current_request().key).model_dump())

    @routes.delete("/v1/keys/{name}")
    @requires("admin")
    async def revoke_key(name: str) -> DeletedKey:
        """Revoke an API key. The last key of an admin is rejected (409)."""
        revoked = await KEY_STORE_EXECUTOR.run(revoke, name)
        api_key_auth.expire()
        return DeletedKey(name=revoked.name)

    @routes.get("/v1/usage")
    @requires("admin")
    async def get_usage(days: Annotated[int, Query(ge=1, le=USAGE_DAYS)] = DEFAULT_USAGE_DAYS) -> UsageList:
        """Return requests, tokens and errors by day and key, for the last `days` days in UTC, today included.

        Counts of the last seconds may be missing.
        """
        if usage is None:
            raise NotFound("This server does not store the usage of API keys.")
        last = utc_day(time.time())
        first = last - timedelta(days=days - 1)
        return UsageList.of(first, last, await KEY_USAGE_EXECUTOR.run(usage.since, first))

    return routes
