"""`POST /v1/classify` and `POST /v1/tag`."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response

from turnwise.core.classification import TaggedText
from turnwise.core.classification_service import ClassificationResult, ClassificationService, TaggingResult
from turnwise.core.errors import InvalidParameter
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.classification_bodies import (
    MAX_SCORES,
    ClassificationUsage,
    ClassifyRequest,
    ClassifyResponse,
    TaggedTextBody,
    TagRequest,
    TagResponse,
    TextLabelsBody,
)
from turnwise.server.schema.list_json import dump_with_data
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels

MAX_INLINE_ENTRIES = 256  # scores or spans that take a fraction of a millisecond: less than a change of threads


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["classification"])

    @routes.post(
        "/v1/classify",
        responses={200: {"model": ClassifyResponse}},
        openapi_extra=json_request_body(ClassifyRequest),
    )
    @requires("user")
    async def classify(request: Request) -> Response:
        """Predict the labels of texts with a classifier (`turnwise serve --classifier`)."""
        body = await read_body(request, ClassifyRequest, max_body_bytes)
        service = served_models.find_classifier(body.model, "sequence_classification")
        current_request().user = body.user
        _check_num_scores(body, service)
        return await _respond(request, service.classify(body.to_service_request()), service.name)

    @routes.post(
        "/v1/tag",
        responses={200: {"model": TagResponse}},
        openapi_extra=json_request_body(TagRequest),
    )
    @requires("user")
    async def tag(request: Request) -> Response:
        """Find the labelled spans of texts, such as names, with a tagger (`turnwise serve --classifier`)."""
        body = await read_body(request, TagRequest, max_body_bytes)
        service = served_models.find_classifier(body.model, "token_classification")
        current_request().user = body.user
        return await _respond(request, service.tag(body.to_service_request()), service.name)

    return routes


async def _respond(
    request: Request, work: Coroutine[Any, Any, ClassificationResult | TaggingResult], name: str
) -> Response:
    try:
        result = await cancel_on_disconnect(request.receive, work)
    except ClientDisconnected:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    num_entries = sum(len(text.spans) if isinstance(text, TaggedText) else len(text.scores) for text in result.texts)
    if num_entries <= MAX_INLINE_ENTRIES:
        content = _response_json(name, result)
    else:
        content = await asyncio.to_thread(_response_json, name, result)
    return Response(content, media_type="application/json")


def _response_json(name: str, result: ClassificationResult | TaggingResult) -> str:
    """The JSON of a `ClassifyResponse` or a `TagResponse`."""
    usage = ClassificationUsage(prompt_tokens=result.prompt_tokens, total_tokens=result.prompt_tokens)
    if isinstance(result, TaggingResult):
        tagged = (TaggedTextBody.of(index, text) for index, text in enumerate(result.texts))
        return dump_with_data(TagResponse(data=[], model=name, usage=usage), tagged)
    labelled = (TextLabelsBody.of(index, text) for index, text in enumerate(result.texts))
    return dump_with_data(ClassifyResponse(data=[], model=name, usage=usage), labelled)


def _check_num_scores(body: ClassifyRequest, service: ClassificationService) -> None:
    """Raise `InvalidParameter` if the response would have more than `MAX_SCORES` scores or labels."""
    num_labels = len(service.labels)
    num_scores = num_labels if service.is_multi_label else min(body.top_k or num_labels, num_labels)
    if len(body.input) * num_scores > MAX_SCORES:
        remedy = "Send fewer texts." if service.is_multi_label else "Send fewer texts or a lower 'top_k'."
        raise InvalidParameter(
            "input",
            f"{len(body.input):,} texts with {num_scores:,} scores each are more than {MAX_SCORES:,} scores. {remedy}",
        )
