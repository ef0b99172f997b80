"""`/v1/conversations/{id}/handoff`: the hand-off of a conversation, as its customer sees it."""

from fastapi import APIRouter, Request, Response

from turnwise.core.errors import NotFound
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.handoff_notices import handoff_notices
from turnwise.core.handoffs import Handoff, HandoffRequest
from turnwise.server.long_poll import After, Wait, wait_for_change
from turnwise.server.middleware.drain import DrainState
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.routes.handoffs import respond
from turnwise.server.schema.handoff_bodies import CustomerHandoff, HandoffOpen
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


def router(served_models: ServedModels, max_body_bytes: int, drain: DrainState) -> APIRouter:
    """Return the routes. A hand-off is visible only to the owner of the conversation."""
    routes = APIRouter(prefix="/v1/conversations/{id}/handoff", tags=["handoffs"])

    async def current(id: str) -> Handoff:
        handoff = await STORE_READ_EXECUTOR.run(served_models.store.handoffs.current, id)
        if handoff is None:
            raise NotFound(f"The conversation '{id[:60]}' has no hand-off.")
        return handoff

    async def with_messages(handoff: Handoff) -> CustomerHandoff:
        messages = await STORE_READ_EXECUTOR.run(served_models.store.handoffs.messages, handoff.id)
        return CustomerHandoff.of(handoff, messages)

    @routes.get("", responses={200: {"model": CustomerHandoff}})
    @requires("user")
    async def get_conversation_handoff(request: Request, id: str, after: After = None, wait: Wait = 0) -> Response:
        """Get the newest hand-off of a conversation. With `after` and `wait`, answer when there is something new."""
        handoffs = served_models.store.handoffs

        async def read_news() -> CustomerHandoff:
            await wait_for_change(lambda: STORE_READ_EXECUTOR.run(handoffs.current_revision, id), after, wait, drain)
            return await with_messages(await current(id))

        return await respond(request, read_news())

    @routes.post("", openapi_extra=json_request_body(HandoffOpen))
    @requires("user")
    async def open_handoff(id: str, request: Request) -> CustomerHandoff:
        """Ask for a person. Until a person has answered, the model is silent."""
        body = await read_body(request, HandoffOpen, max_body_bytes)
        handoff_request = HandoffRequest(
            id, body.reason, language=body.language, notices=handoff_notices(body.language)
        )
        return await with_messages(await STORE_WRITE_EXECUTOR.run(served_models.store.handoffs.open, handoff_request))

    @routes.delete("")
    @requires("user")
    async def cancel_handoff(id: str) -> CustomerHandoff:
        """Go on with the model."""
        handoff = await current(id)
        return await with_messages(
            await STORE_WRITE_EXECUTOR.run(served_models.store.handoffs.apply, handoff.id, "cancel")
        )

    return routes
