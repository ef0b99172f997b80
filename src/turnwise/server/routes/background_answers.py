"""`/v1/conversations/{id}/answers/{answer_id}`: answers that are being generated in the background."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from turnwise.core.executors import STORE_READ_EXECUTOR
from turnwise.server.background_answers import BackgroundAnswer, BackgroundAnswers
from turnwise.server.disconnect import ClientDisconnected
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.route_roles import requires
from turnwise.server.schema.chat_completion_response import ChatCompletionChunk
from turnwise.server.served_models import ServedModels
from turnwise.server.sse import EventStreamResponse, PrefetchedStream


class StoppedAnswer(BaseModel):
    """Confirmation that an answer has ended."""

    id: str
    object: Literal["conversation.answer.stopped"] = "conversation.answer.stopped"


def router(served_models: ServedModels, answers: BackgroundAnswers) -> APIRouter:
    """Return the routes. An answer is visible to those who see its conversation."""
    routes = APIRouter(prefix="/v1/conversations/{id}/answers", tags=["conversations"])

    async def find(id: str, answer_id: str) -> BackgroundAnswer:
        await STORE_READ_EXECUTOR.run(served_models.store.get, id)  # raises `NotFound` if it is not visible
        return answers.find(id, answer_id)

    @routes.get("/{answer_id}", responses={200: {"model": ChatCompletionChunk, "content": {"text/event-stream": {}}}})
    @requires("user")
    async def attach_to_answer(id: str, answer_id: str, request: Request) -> Response:
        """Stream an answer from its beginning, as server-sent events of `/v1/chat/completions`.

        Closing the stream does not end the answer.
        """
        answer = await find(id, answer_id)
        keep_alive = request.app.state.sse_keep_alive
        try:
            stream = await PrefetchedStream.start(answer.deltas(), keep_alive, request.receive)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return EventStreamResponse(answer.encode(stream), stream, keep_alive)

    @routes.delete("/{answer_id}")
    @requires("user")
    async def stop_answer(id: str, answer_id: str) -> StoppedAnswer:
        """Stop an answer. Its text stays in the conversation."""
        await answers.cancel([await find(id, answer_id)])
        return StoppedAnswer(id=answer_id)

    return routes
