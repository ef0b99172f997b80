"""Every error leaves as `{"error": {"message", "type", "param", "code"}}`; this is the one place that makes it so."""

import logging
import traceback
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from turnwise.core.errors import TurnwiseError, UserError
from turnwise.server.request_context import current_request

MAX_ECHOED_CHARS = 100  # characters of what a client sent that an error may repeat
MAX_MESSAGE_CHARS = 600  # characters of a whole message

log = logging.getLogger("turnwise.server")


class ErrorDetail(BaseModel):
    """What went wrong: a sentence, its kind, the field at fault and a stable code."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class RequestRejected(UserError):
    """A request that is turned away for how, when or by whom it was sent: too large, too often, from elsewhere."""

    def __init__(
        self, status: int, code: str, message: str, *, kind: str | None = None, retry_after: int | None = None
    ) -> None:
        """Refuse with this status; `kind` is the published type, `retry_after` the seconds to wait."""
        super().__init__(message)
        self.http_status = status
        self.code = code
        self.http_type = kind or self.http_type
        self.retry_after = retry_after


def truncate(text: str, max_chars: int = MAX_ECHOED_CHARS) -> str:
    """`text`, shortened so that an error never sends a large input back."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}…"


def error_body(error: TurnwiseError) -> dict[str, Any]:
    """The published shape of an error we can explain."""
    param = None if error.param is None else truncate(error.param)
    message = truncate(str(error), MAX_MESSAGE_CHARS)
    detail = ErrorDetail(message=message, type=error.http_type, param=param, code=error.code)
    return ErrorBody(error=detail).model_dump()


def error_response(error: TurnwiseError) -> JSONResponse:
    """The whole answer for an error we can explain."""
    retry_after = str(getattr(error, "retry_after", None) or 1)
    headers: dict[int, dict[str, str]] = {
        401: {"WWW-Authenticate": "Bearer"},
        408: {"Connection": "close"},  # the rest of the request may still come
        413: {"Connection": "close"},  # else the rest of the body would be read, however long it is
        429: {"Retry-After": retry_after},
        503: {"Retry-After": retry_after},
    }
    if error.code == "unsupported_content_encoding":
        headers[415] = {"Accept-Encoding": "identity"}
    current_request().code = error.code
    return JSONResponse(error_body(error), error.http_status, headers=headers.get(error.http_status))


def log_exception(error: BaseException) -> None:
    """Log where an unexpected error happened. Its text is left out: it may quote what a person wrote."""
    places = "".join(traceback.format_tb(error.__traceback__))
    log.error("Unexpected %s\n%s", type(error).__name__, places.rstrip())


def internal_error() -> TurnwiseError:
    """What a client is told of an error that we did not foresee: nothing of our insides."""
    error = TurnwiseError("The server made a mistake. It has been logged; the same request may work if sent again.")
    error.code = "internal_error"
    return error


def to_client_error(error: Exception) -> TurnwiseError:
    """What a stream that fails says: the error itself where it can be explained, else a general one, after logging."""
    if isinstance(error, TurnwiseError):
        return error
    log_exception(error)
    return internal_error()


def add_error_handlers(app: FastAPI) -> None:
    """Let every error of the routes leave in the published shape."""
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
    """What the framework itself refuses: unknown routes and methods."""
    assert isinstance(error, HTTPException)
    path = truncate(request.url.path)
    known = {
        404: ("unknown_url", f"There is nothing at {path}. The routes are listed at /docs."),
        405: (
            "method_not_allowed",
            f"{path} does not answer to {truncate(request.method)}. The routes are listed at /docs.",
        ),
    }
    code, message = known.get(error.status_code, ("refused", truncate(str(error.detail))))
    response = error_response(RequestRejected(error.status_code, code, message))
    response.headers.update(error.headers or {})
    return response


async def _handle_query_error(request: Request, error: Exception) -> JSONResponse:
    """A query parameter that the framework could not read; bodies are read in `body.py`."""
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return error_response(RequestRejected(400, "invalid_parameter", f"'{truncate(name)}': {truncate(first['msg'])}."))
