"""`GET /health` (the process runs) and `GET /ready` (requests are answered)."""

from fastapi import APIRouter
from pydantic import BaseModel

from turnwise import __version__
from turnwise.core.errors import Unavailable
from turnwise.server.middleware.drain import DrainState
from turnwise.server.route_roles import requires
from turnwise.server.served_models import ServedModels


class Health(BaseModel):
    """The process runs."""

    status: str
    version: str


class Readiness(BaseModel):
    """Requests are answered, by these models."""

    status: str
    models: list[str]


def router(served_models: ServedModels, drain: DrainState) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health")
    @requires("public")
    async def health() -> Health:
        """Liveness probe: 200 while the process runs."""
        return Health(status="ok", version=__version__)

    @routes.get("/ready")
    @requires("public")
    async def ready() -> Readiness:
        """Readiness probe: 200 if models are loaded, their engines run and the server does not drain, else 503."""
        if drain.is_draining:
            raise drain.rejection()
        if served_models.default not in served_models.services:
            raise Unavailable("No model is loaded yet.")
        if failed := [name for name, service in served_models.services.items() if not service.is_healthy]:
            names = ", ".join(sorted(failed))
            raise Unavailable(f"The engine of {names} has stopped after an error. Restart the server.")
        return Readiness(status="ready", models=sorted(served_models.services))

    return routes
