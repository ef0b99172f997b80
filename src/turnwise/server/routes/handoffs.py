"""`/v1/handoffs`: the queue of customers that wait for a person, and what a person does with them."""

import secrets
from collections.abc import Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.handoff_states import HANDOFF_STATES, OPEN_STATES, HandoffEventKind
from turnwise.core.handoffs import Handoff, HandoffStore
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.long_poll import After, Wait, wait_for_change
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.middleware.drain import DrainState
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.handoff_bodies import (
    ClaimedHandoff,
    HandoffAction,
    HandoffBody,
    HandoffClaim,
    HandoffList,
    HandoffReply,
    HandoffWithMessages,
)
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels

MAX_LISTED = 500


def router(served_models: ServedModels, max_body_bytes: int, drain: DrainState) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/handoffs", tags=["handoffs"])

    def store() -> HandoffStore:
        return served_models.store.handoffs

    async def read_list(show_all: bool, limit: int) -> HandoffList:
        states = HANDOFF_STATES if show_all else OPEN_STATES
        revision = await STORE_READ_EXECUTOR.run(store().revision)  # before the list, so that no change is missed
        handoffs = await STORE_READ_EXECUTOR.run(store().list, states, limit=limit + 1)
        data = [HandoffBody.of(handoff) for handoff in handoffs[:limit]]
        return HandoffList(data=data, revision=revision, has_more=len(handoffs) > limit)

    async def read_one(id: str) -> HandoffWithMessages:
        handoff = await STORE_READ_EXECUTOR.run(store().get, id)
        return HandoffWithMessages.with_messages(handoff, await STORE_READ_EXECUTOR.run(store().messages, id))

    async def apply(id: str, kind: HandoffEventKind, claim: str, agent: str = "") -> Handoff:
        return await STORE_WRITE_EXECUTOR.run(store().apply, id, kind, claim=claim, agent=agent)

    @routes.get("", responses={200: {"model": HandoffList}})
    @requires("agent")
    async def list_handoffs(
        request: Request,
        state: Annotated[Literal["open", "all"], Query(description="Open hand-offs, or ended ones too.")] = "open",
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
        after: After = None,
        wait: Wait = 0,
    ) -> Response:
        """List hand-offs, oldest first. With `after` and `wait`, answer when one of them has changed."""

        async def read_news() -> HandoffList:
            await wait_for_change(lambda: STORE_READ_EXECUTOR.run(store().revision), after, wait, drain)
            return await read_list(state == "all", limit)

        return await respond(request, read_news())

    @routes.get("/{id}", responses={200: {"model": HandoffWithMessages}})
    @requires("agent")
    async def get_handoff(request: Request, id: str, after: After = None, wait: Wait = 0) -> Response:
        """Get a hand-off with the messages. With `after` and `wait`, answer when there is something new."""

        async def read_news() -> HandoffWithMessages:
            await wait_for_change(lambda: STORE_READ_EXECUTOR.run(store().revision, id), after, wait, drain)
            return await read_one(id)

        return await respond(request, read_news())

    @routes.post("/{id}/claim", openapi_extra=json_request_body(HandoffClaim))
    @requires("agent")
    async def claim_handoff(id: str, request: Request) -> ClaimedHandoff:
        """Take over: this person alone speaks with the customer. Renew the claim at least every 45 seconds."""
        body = await read_body(request, HandoffClaim, max_body_bytes)
        claim = body.claim or secrets.token_hex(16)
        return ClaimedHandoff.with_claim(await apply(id, "claim", claim, " ".join(body.agent.split())))

    @routes.post("/{id}/renew", openapi_extra=json_request_body(HandoffAction))
    @requires("agent")
    async def renew_claim(id: str, request: Request) -> HandoffBody:
        """Keep the claim."""
        body = await read_body(request, HandoffAction, max_body_bytes)
        return HandoffBody.of(await apply(id, "renew", body.claim))

    @routes.post("/{id}/messages", openapi_extra=json_request_body(HandoffReply))
    @requires("agent")
    async def send_message(id: str, request: Request) -> HandoffBody:
        """Send a message to the customer."""
        body = await read_body(request, HandoffReply, max_body_bytes)
        return HandoffBody.of(await STORE_WRITE_EXECUTOR.run(store().send, id, body.claim, body.text))

    @routes.post("/{id}/return", openapi_extra=json_request_body(HandoffAction))
    @requires("agent")
    async def return_handoff(id: str, request: Request) -> HandoffBody:
        """Give the conversation back to the model."""
        body = await read_body(request, HandoffAction, max_body_bytes)
        return HandoffBody.of(await apply(id, "return", body.claim))

    @routes.post("/{id}/close", openapi_extra=json_request_body(HandoffAction))
    @requires("agent")
    async def close_handoff(id: str, request: Request) -> HandoffBody:
        """End the hand-off: the matter is settled. The model answers the next message."""
        body = await read_body(request, HandoffAction, max_body_bytes)
        return HandoffBody.of(await apply(id, "close", body.claim))

    return routes


async def respond(request: Request, work: Coroutine[Any, Any, BaseModel]) -> Response:
    """Return the result of `work` as JSON. `work` ends when the client disconnects."""
    try:
        body = await cancel_on_disconnect(request.receive, work)
    except ClientDisconnected:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return Response(body.model_dump_json(), media_type="application/json")
