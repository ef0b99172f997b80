"""`/v1/responses`: the next message as a response, whole or streamed, and the responses that were stored."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from turnwise.chat.service import ChatDelta, ChatRequest, ChatService
from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, UserError
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.stored_completions import SortOrder
from turnwise.core.stored_responses import ResponseStore
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import to_client_error
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.responses.response_builder import ResponseBuilder, ResponseEvent
from turnwise.server.responses.response_events import EventEncoder
from turnwise.server.responses.response_fields import read_include
from turnwise.server.responses.response_object import InputTokensBody, ResponseBody, new_response
from turnwise.server.responses.response_request import InputTokensRequest, PromptFields, ResponseRequest
from turnwise.server.responses.response_storage import read_conversation, store_required_error, stored_response
from turnwise.server.routes.chat_completions import raise_if_failed
from turnwise.server.routes.stored_completions import Limit, ListPage
from turnwise.server.schema import request_body as body
from turnwise.server.served_models import ServedModels
from turnwise.server.sse import EventStreamResponse, PrefetchedStream

PATH = "/v1/responses"


class DeletedResponse(BaseModel):
    """The answer to a deletion."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


def router(served_models: ServedModels, limit: int) -> APIRouter:
    """The routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["responses"])

    @routes.post(
        PATH,
        responses={200: {"model": ResponseBody, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(ResponseRequest),
    )
    async def create_response(request: Request) -> Response:
        """Generate a response; with `stream`, as server-sent events that end with the whole response."""
        payload, content = await body.read_with_json(request, ResponseRequest, limit)
        service = served_models.find(payload.model)
        current_request().user = payload.user
        run = await STORE_READ_EXECUTOR.run(_ResponseRun, service, payload, content, _owner())
        deltas = service.stream(run.to_chat_request)
        try:
            if payload.stream:
                interval = request.app.state.sse_keep_alive
                started = await PrefetchedStream.start(deltas, interval, request.receive)
                encoder = EventEncoder(run.builder, include_obfuscation=payload.include_obfuscation)
                return EventStreamResponse(_events(run, started, encoder), started, interval, encoder.encode_failure)
            await cancel_on_disconnect(request.receive, _run_to_completion(run, deltas))
        except ClientDisconnected:
            return Response(status_code=499)  # nobody reads it
        except UserError as error:
            raise _rename_param(error) from None
        return JSONResponse(run.builder.response.dump())

    @routes.post(
        PATH + "/input_tokens",
        responses={200: {"model": InputTokensBody}},
        openapi_extra=json_request_body(InputTokensRequest),
    )
    async def count_input_tokens(request: Request) -> Response:
        """Count the tokens that the model would read for a response. Refuses what a request for it would be refused."""
        payload = await body.read(request, InputTokensRequest, limit)
        service = served_models.find(payload.model)
        turn = await STORE_READ_EXECUTOR.run(_prompt_request, service, payload, _owner())
        try:
            count = await cancel_on_disconnect(request.receive, service.count_input_tokens(turn))
        except ClientDisconnected:
            return Response(status_code=499)  # nobody reads it
        except UserError as error:
            raise _rename_param(error) from None
        return JSONResponse(InputTokensBody(input_tokens=count).model_dump())

    @routes.get(PATH + "/{id}")
    async def get_response(
        id: str,
        include: Annotated[list[str] | None, Query(alias="include[]")] = None,
        stream: bool = False,
        starting_after: int | None = None,
    ) -> dict[str, Any]:
        """A stored response."""
        read_include(include)
        if stream or starting_after is not None:
            name = "stream" if stream else "starting_after"
            raise InvalidParameter(
                name, f"'{name}' is not supported: a stored response is complete and is sent as a whole.",
                code="unsupported_value",
            )  # fmt: skip
        return dict((await STORE_READ_EXECUTOR.run(_store(served_models).get, id, _owner())).body)

    @routes.delete(PATH + "/{id}")
    async def delete_response(id: str) -> DeletedResponse:
        """Delete a stored response. Responses that continue it cannot be continued any more."""
        await STORE_WRITE_EXECUTOR.run(_store(served_models).delete, id, _owner())
        return DeletedResponse(id=id)

    @routes.post(PATH + "/{id}/cancel")
    async def cancel_response(id: str) -> dict[str, Any]:
        """Refused: only responses with `background` can be cancelled, and there are none. Close the connection."""
        await STORE_READ_EXECUTOR.run(_store(served_models).get, id, _owner())
        raise InvalidParameter(
            "id", "Only a response with 'background': true can be cancelled, and this server has none. To stop a "
            "response, close the connection that it is sent on.", code="unsupported_value",
        )  # fmt: skip

    @routes.get(PATH + "/{id}/input_items")
    async def list_input_items(
        id: str,
        limit: Limit = 20,
        after: str | None = None,
        order: SortOrder = "desc",
        include: Annotated[list[str] | None, Query(alias="include[]")] = None,
    ) -> ListPage:
        """The input items of a stored response, without those of the responses that it continues."""
        read_include(include)
        stored = await STORE_READ_EXECUTOR.run(_store(served_models).get, id, _owner())
        return ListPage.after([dict(item) for item in stored.input], id, limit, after, order)

    return routes


class _ResponseRun:
    """One response: what the chat service is asked for, and what becomes of the answer."""

    def __init__(self, service: ChatService, payload: ResponseRequest, content: dict[str, Any], owner: str) -> None:
        """Read what the request refers to from the store. Raises `UserError` where it cannot be answered."""
        self._store = _store_of(service)
        self._is_stored = self._store is not None and payload.store is not False
        self._owner = owner
        if self._store is None and payload.store:
            raise store_required_error("store")
        history, self._input = read_conversation(self._store, payload, owner)
        self.to_chat_request = payload.to_chat_request([*history, *self._input])
        id, created = f"resp_{secrets.token_hex(16)}", int(time.time())
        response = new_response(id, created, service, payload, content, self.to_chat_request, is_stored=self._is_stored)
        self.builder = ResponseBuilder(response)

    async def add(self, delta: ChatDelta) -> list[ResponseEvent]:
        """The events of one delta. The response is safe on disk before the event that completes it is sent."""
        raise_if_failed(delta.finish_reason)
        events = self.builder.add(delta)
        if self.builder.is_complete and self._is_stored and self._store is not None:
            stored = stored_response(self.builder.response, self._input, self._owner)
            await STORE_WRITE_EXECUTOR.run(self._store.add, stored)
        return events


async def _run_to_completion(run: _ResponseRun, deltas: AsyncGenerator[ChatDelta, None]) -> None:
    async with aclosing(deltas):
        async for delta in deltas:
            await run.add(delta)


async def _events(
    run: _ResponseRun, deltas: PrefetchedStream[ChatDelta], encoder: EventEncoder
) -> AsyncGenerator[bytes, None]:
    """The stream as published; an error ends it with `response.failed`."""
    for content in run.builder.start_events():
        yield encoder.encode(content)
    try:
        while (delta := await deltas.next()) is not None:
            for content in await run.add(delta):
                yield encoder.encode(content)
            encoder.is_ended = run.builder.is_complete
    except Exception as error:
        error = _rename_param(error) if isinstance(error, UserError) else error
        yield encoder.encode_failure(to_client_error(error))
        encoder.is_ended = True


def _prompt_request(service: ChatService, payload: PromptFields, owner: str) -> ChatRequest:
    """What the model would read for a request, with what the request refers to in the store."""
    history, items = read_conversation(_store_of(service), payload, owner)
    return payload.to_chat_request([*history, *items])


def _store_of(service: ChatService) -> ResponseStore | None:
    return None if service.store is None else service.store.responses


def _owner() -> str:
    key = current_request().key
    return "" if key is None else key.name


def _store(served_models: ServedModels) -> ResponseStore:
    return served_models.store.responses


def _rename_param(error: UserError) -> UserError:
    """The chat service speaks of messages; in this interface they are the input."""
    if not isinstance(error, ContextLengthExceeded) or error.param != "messages":
        return error
    message = str(error).replace("'messages'", "'input'").replace("'max_tokens'", "'max_output_tokens'")
    return ContextLengthExceeded(message, "input")
