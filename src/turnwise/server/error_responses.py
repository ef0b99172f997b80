"""Error responses: the only place that builds `{"error": {"message", "type", "param", "code"}}`."""

import logging
import traceback
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from turnwise.core.errors import TurnwiseError, Unavailable, UserError
from turnwise.core.inference import FinishReason
from turnwise.server.request_context import current_request

MAX_ECHOED_CHARS = 100  # of a client's value that an error message repeats
MAX_MESSAGE_CHARS = 600

log = logging.getLogger("turnwise.server")


class ErrorDetail(BaseModel):
    """Message, published type, path of the field at fault and stable code of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Body of every response that is not a success."""

    error: ErrorDetail


class RequestRejected(UserError):
    """A request that is rejected because of its size, rate, time, origin or credentials."""

    def __init__(
        self, status: int, code: str, message: str, *, error_type: str | None = None, retry_after: int | None = None
    ) -> None:
        """Reject with an HTTP status.

        Args:
            status: HTTP status.
            code: stable code of the error.
            message: a sentence for the client.
            error_type: published type of the error. Default: that of `UserError`.
            retry_after: seconds for the `Retry-After` header.
        """
        super().__init__(message)
        self.http_status = status
        self.code = code
        self.http_type = error_type or self.http_type
        self.retry_after = retry_after


def truncate(text: str, max_chars: int = MAX_ECHOED_CHARS) -> str:
    """Shorten `text`, so that an error never sends a large input back."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}…"


def error_body(error: TurnwiseError) -> dict[str, Any]:
    """Return the JSON body for an error."""
    param = None if error.param is None else truncate(error.param)
    message = truncate(str(error), MAX_MESSAGE_CHARS)
    detail = ErrorDetail(message=message, type=error.http_type, param=param, code=error.code)
    return ErrorBody(error=detail).model_dump()


def error_response(error: TurnwiseError) -> JSONResponse:
    """Return the response for an error: status, headers and body."""
    retry_after = str(getattr(error, "retry_after", None) or 1)
    headers: dict[int, dict[str, str]] = {
        401: {"WWW-Authenticate": "Bearer"},
        408: {"Connection": "close"},  # the rest of the request may still arrive
        413: {"Connection": "close"},  # the rest of the body is not read
        429: {"Retry-After": retry_after},
        503: {"Retry-After": retry_after},
    }
    if error.code == "unsupported_content_encoding":
        headers[415] = {"Accept-Encoding": "identity"}
    current_request().code = error.code
    return JSONResponse(error_body(error), error.http_status, headers=headers.get(error.http_status))


def log_exception(error: BaseException) -> None:
    """Log the type and traceback of an unexpected error, without its message: it may quote a conversation."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("Unexpected %s\n%s", type(error).__name__, frames.rstrip())


def internal_error() -> TurnwiseError:
    """Return the error that clients get for an unexpected exception: no internals."""
    error = TurnwiseError("Internal server error. It has been logged; sending the same request again may work.")
    error.code = "internal_error"
    return error


def to_client_error(error: Exception) -> TurnwiseError:
    """Return the error to send for an exception: itself if it is ours, else `internal_error`, after logging."""
    if isinstance(error, TurnwiseError):
        return error
    log_exception(error)
    return internal_error()


def raise_if_failed(finish_reason: FinishReason | None) -> None:
    """Raise for a completion that failed: the published finish reasons have none for failures."""
    if finish_reason == "error":
        raise TurnwiseError("The model failed while it generated this answer. Sending the request again may help.")
    if finish_reason == "cancelled":
        raise Unavailable("The completion was cancelled: the server is stopping, or the model is being unloaded.")


def add_error_handlers(app: FastAPI) -> None:
    """Answer all errors of the routes in the published shape."""
    app.add_exception_handler(TurnwiseError, _handle_turnwise_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(RequestValidationError, _handle_query_error)


async def _handle_turnwise_error(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, TurnwiseError)
    if error.http_status == 500:
        log.error("%s: %s", type(error).__name__, truncate(str(error), MAX_MESSAGE_CHARS))
    return error_response(error)


async def _handle_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework rejects: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    path = truncate(request.url.path)
    messages = {
        404: ("unknown_url", f"There is nothing at {path}. The routes are listed at /docs."),
        405: (
            "method_not_allowed",
            f"{path} does not support the method {truncate(request.method)}. The routes are listed at /docs.",
        ),
    }
    code, message = messages.get(error.status_code, ("refused", truncate(str(error.detail))))
    response = error_response(RequestRejected(error.status_code, code, message))
    response.headers.update(error.headers or {})
    return response


async def _handle_query_error(request: Request, error: Exception) -> JSONResponse:
    """Answer invalid query parameters. Bodies are validated in `schema/request_body.py`."""
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return error_response(RequestRejected(400, "invalid_parameter", f"'{truncate(name)}': {truncate(first['msg'])}."))
