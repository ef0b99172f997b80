"""Which API keys may call a route. Each route declares it, and `check_role` checks it for all routes."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from fastapi import Request

from turnwise.core.access import KeyRole, has_role
from turnwise.server.error_responses import RequestRejected
from turnwise.server.request_context import current_request

RouteRole = KeyRole | Literal["public"]  # public: no key is needed
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_ATTRIBUTE = "required_role"
_NOUNS: dict[KeyRole, str] = {"user": "a user", "agent": "an agent", "admin": "an admin"}


def requires(role: RouteRole) -> Callable[[Endpoint], Endpoint]:
    """Declare the least role that may call a route. Goes below the decorator that adds the route."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, role)
        return endpoint

    return declare


def declared_role(endpoint: Callable[..., Any]) -> RouteRole | None:
    """The declared role of a route; None without a declaration."""
    role: RouteRole | None = getattr(endpoint, _ATTRIBUTE, None)
    return role


async def check_role(request: Request) -> None:
    """Reject the request (403) if its key may not call the route. A route without declaration is for admins only."""
    required = declared_role(request.scope["endpoint"]) or "admin"
    role = current_request().principal.role
    if required == "public" or has_role(role, required):
        return
    raise RequestRejected(
        403, "insufficient_role",
        f"This needs the API key of {_NOUNS[required]}; the key of this request is that of {_NOUNS[role]}. "
        f"`turnwise keys create --role {required}` on the server creates one.",
    )  # fmt: skip
