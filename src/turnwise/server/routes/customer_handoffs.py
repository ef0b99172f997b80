"""`/v1/conversations/{id}/handoff`: the hand-off of a conversation, as its customer sees it."""

from fastapi import APIRouter, Request, Response

from turnwise.core.errors import NotFound
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.handoff_notices import handoff_notices
from turnwise.core.handoffs import Handoff, HandoffRequest
from turnwise.server.long_poll import After, Wait, wait_for_change
from turnwise.server.middleware.drain import DrainState
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_tenant
from turnwise.server.routes.handoffs import respond
from turnwise.server.schema.handoff_bodies import CustomerHandoff, HandoffOpen
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


def router(served_models: ServedModels, max_body_bytes: int, drain: DrainState) -> APIRouter:
    """Return the routes. A hand-off is visible only to the API key that opened it."""
    routes = APIRouter(prefix="/v1/conversations/{id}/handoff", tags=["handoffs"])

    async def current(id: str) -> Handoff:
        handoff = await STORE_READ_EXECUTOR.run(served_models.store.handoffs.current, id, current_tenant())
        if handoff is None:
            raise NotFound(f"The conversation '{id[:60]}' has no hand-off.")
        return handoff

    async def with_messages(handoff: Handoff) -> CustomerHandoff:
        conversation = await STORE_READ_EXECUTOR.run(served_models.store.get, handoff.request.conversation_id)
        return CustomerHandoff.of(handoff, conversation.messages)

    async def read(id: str) -> CustomerHandoff:
        return await with_messages(await current(id))

    @routes.get("", responses={200: {"model": CustomerHandoff}})
    async def get_conversation_handoff(request: Request, id: str, after: After = None, wait: Wait = 0) -> Response:
        """Get the newest hand-off of a conversation. With `after` and `wait`, answer when there is something new."""
        work = wait_for_change(lambda: read(id), lambda handoff: handoff.revision, after, wait, drain)
        return await respond(request, work)

    @routes.post("", openapi_extra=json_request_body(HandoffOpen))
    async def open_handoff(id: str, request: Request) -> CustomerHandoff:
        """Ask for a person. Until a person has answered, the model is silent."""
        body = await read_body(request, HandoffOpen, max_body_bytes)
        handoff_request = HandoffRequest(
            id, current_tenant(), body.reason, language=body.language, notices=handoff_notices(body.language)
        )
        return await with_messages(await STORE_WRITE_EXECUTOR.run(served_models.store.handoffs.open, handoff_request))

    @routes.delete("")
    async def cancel_handoff(id: str) -> CustomerHandoff:
        """Go on with the model."""
        handoff = await current(id)
        return await with_messages(
            await STORE_WRITE_EXECUTOR.run(served_models.store.handoffs.apply, handoff.id, "cancel")
        )

    return routes
