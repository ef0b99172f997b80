"""`/v1/responses`: responses, complete or streamed, and stored responses."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta
from turnwise.core.chat_service import ChatService
from turnwise.core.collected_answers import Consent
from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, UserError
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.stored_completions import SortOrder
from turnwise.core.stored_responses import ResponseStore
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import raise_if_failed, to_client_error
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.responses.response_builder import ResponseBuilder, ResponseEvent
from turnwise.server.responses.response_events import EventEncoder
from turnwise.server.responses.response_fields import read_include
from turnwise.server.responses.response_object import InputTokensBody, ResponseBody, new_response
from turnwise.server.responses.response_request import InputTokensRequest, PromptFields, ResponseRequest
from turnwise.server.responses.response_storage import read_conversation, store_required_error, stored_response
from turnwise.server.route_roles import requires
from turnwise.server.schema.list_page import ListPage, PageLimit
from turnwise.server.schema.request_body import read_body, read_body_with_json
from turnwise.server.served_models import ServedModels
from turnwise.server.sse import EventStreamResponse, PrefetchedStream

PATH = "/v1/responses"


class DeletedResponse(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["responses"])
    _add_generation_routes(routes, served_models, max_body_bytes)
    _add_storage_routes(routes, served_models)
    return routes


def _add_generation_routes(routes: APIRouter, served_models: ServedModels, max_body_bytes: int) -> None:
    @routes.post(
        PATH,
        responses={200: {"model": ResponseBody, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(ResponseRequest),
    )
    @requires("user")
    async def create_response(request: Request) -> Response:
        """Generate a response; with `stream`, as server-sent events that end with the complete response."""
        body, content = await read_body_with_json(request, ResponseRequest, max_body_bytes)
        service = served_models.find(body.model)
        current_request().user = body.user
        consent = served_models.consent_policy.of_request(body.collect)
        run = await STORE_READ_EXECUTOR.run(_ResponseRun, service, body, content, consent)
        answering = await served_models.select(body.model, run.chat_request)
        deltas = answering.stream(run.chat_request)
        try:
            if body.stream:
                keep_alive = request.app.state.sse_keep_alive
                stream = await PrefetchedStream.start(deltas, keep_alive, request.receive)
                encoder = EventEncoder(run.builder, is_padded=body.include_obfuscation)
                return EventStreamResponse(_events(run, stream, encoder), stream, keep_alive, encoder.encode_failure)
            await cancel_on_disconnect(request.receive, _run_to_completion(run, deltas))
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except UserError as error:
            raise _rename_param(error) from None
        return JSONResponse(run.builder.response.dump())

    @routes.post(
        PATH + "/input_tokens",
        responses={200: {"model": InputTokensBody}},
        openapi_extra=json_request_body(InputTokensRequest),
    )
    @requires("user")
    async def count_input_tokens(request: Request) -> Response:
        """Count the prompt tokens of a response. Requests that `POST /v1/responses` rejects are rejected here too."""
        body = await read_body(request, InputTokensRequest, max_body_bytes)
        service = served_models.find(body.model)
        chat_request = await STORE_READ_EXECUTOR.run(_prompt_request, service, body)
        try:
            count = await cancel_on_disconnect(request.receive, service.count_input_tokens(chat_request))
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except UserError as error:
            raise _rename_param(error) from None
        return JSONResponse(InputTokensBody(input_tokens=count).model_dump())


def _add_storage_routes(routes: APIRouter, served_models: ServedModels) -> None:
    def store() -> ResponseStore:
        return served_models.store.responses

    @routes.get(PATH + "/{id}")
    @requires("user")
    async def get_response(
        id: str,
        include: Annotated[list[str] | None, Query(alias="include[]")] = None,
        stream: bool = False,
        starting_after: int | None = None,
    ) -> dict[str, Any]:
        """Get a stored response."""
        read_include(include)
        if stream or starting_after is not None:
            name = "stream" if stream else "starting_after"
            message = f"'{name}' is not supported: a stored response is complete and cannot be streamed."
            raise InvalidParameter(name, message, code="unsupported_value")
        return dict((await STORE_READ_EXECUTOR.run(store().get, id)).body)

    @routes.delete(PATH + "/{id}")
    @requires("user")
    async def delete_response(id: str) -> DeletedResponse:
        """Delete a stored response. Responses that continue it cannot be continued any more."""
        await STORE_WRITE_EXECUTOR.run(store().delete, id)
        return DeletedResponse(id=id)

    @routes.post(PATH + "/{id}/cancel")
    @requires("user")
    async def cancel_response(id: str) -> dict[str, Any]:
        """Always an error: only background responses can be cancelled, and this server has none."""
        await STORE_READ_EXECUTOR.run(store().get, id)
        raise InvalidParameter(
            "id", "Only a response with 'background': true can be cancelled, and this server has none. To stop a "
            "response, close its connection.", code="unsupported_value",
        )  # fmt: skip

    @routes.get(PATH + "/{id}/input_items")
    @requires("user")
    async def list_input_items(
        id: str,
        limit: PageLimit = 20,
        after: str | None = None,
        order: SortOrder = "desc",
        include: Annotated[list[str] | None, Query(alias="include[]")] = None,
    ) -> ListPage:
        """List the input items of a stored response, without those of the responses that it continues."""
        read_include(include)
        stored = await STORE_READ_EXECUTOR.run(store().get, id)
        return ListPage.paginate([dict(item) for item in stored.input], id, limit, after, order)


class _ResponseRun:
    """One response: the request for the chat service, the builder of the response, and its storage."""

    def __init__(self, service: ChatService, body: ResponseRequest, content: dict[str, Any], consent: Consent) -> None:
        """Read the earlier responses that the request refers to. Blocks. Raises `UserError` if the request is invalid.

        Args:
            service: generates the response.
            body: the request.
            content: the request as JSON.
            consent: what may be collected.
        """
        self._consent = consent
        self._store = _response_store(service)
        self._is_stored = self._store is not None and body.store is not False
        if self._store is None and body.store:
            raise store_required_error("store")
        history, self._input = read_conversation(self._store, body)
        self.chat_request = body.to_chat_request([*history, *self._input])
        id, created = f"resp_{secrets.token_hex(16)}", int(time.time())
        response = new_response(id, created, service, body, content, self.chat_request, is_stored=self._is_stored)
        self.builder = ResponseBuilder(response)

    async def add(self, delta: ChatDelta) -> list[ResponseEvent]:
        """Return the events of a delta. The response is safe on disk before the event that completes it is returned."""
        raise_if_failed(delta.finish_reason)
        events = self.builder.add(delta)
        if self.builder.is_complete and self._is_stored and self._store is not None:
            stored = stored_response(self.builder.response, self._input)
            stored = replace(stored, user=self.chat_request.user, consent=self._consent)
            await STORE_WRITE_EXECUTOR.run(self._store.add, stored)
        return events


async def _run_to_completion(run: _ResponseRun, deltas: AsyncGenerator[ChatDelta, None]) -> None:
    async with aclosing(deltas):
        async for delta in deltas:
            await run.add(delta)


async def _events(
    run: _ResponseRun, deltas: PrefetchedStream[ChatDelta], encoder: EventEncoder
) -> AsyncGenerator[bytes, None]:
    """Yield the events of a response; an error ends them with `response.failed`."""
    for event in run.builder.start_events():
        yield encoder.encode(event)
    try:
        while (delta := await deltas.next()) is not None:
            for event in await run.add(delta):
                yield encoder.encode(event)
            encoder.is_ended = run.builder.is_complete
    except Exception as error:
        error = _rename_param(error) if isinstance(error, UserError) else error
        yield encoder.encode_failure(to_client_error(error))
        encoder.is_ended = True


def _prompt_request(service: ChatService, body: PromptFields) -> ChatRequest:
    """The chat request with the prompt that the model would read. Blocks: it reads earlier responses."""
    history, items = read_conversation(_response_store(service), body)
    return body.to_chat_request([*history, *items])


def _response_store(service: ChatService) -> ResponseStore | None:
    return None if service.store is None else service.store.responses


def _rename_param(error: UserError) -> UserError:
    """Replace field names of chat completions in an error of the chat service by those of responses."""
    if not isinstance(error, ContextLengthExceeded) or error.param != "messages":
        return error
    message = str(error).replace("'messages'", "'input'").replace("'max_tokens'", "'max_output_tokens'")
    return ContextLengthExceeded(message, "input")
