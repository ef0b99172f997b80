"""`/health` and `/ready`: is it alive, and can it answer."""

from fastapi import APIRouter
from pydantic import BaseModel

from turnwise import __version__
from turnwise.core.errors import Unavailable
from turnwise.server.middleware.drain import DrainState
from turnwise.server.served_models import ServedModels


class Health(BaseModel):
    """The process runs."""

    status: str
    version: str


class Ready(BaseModel):
    """Requests are answered, by these models."""

    status: str
    models: list[str]


def router(served_models: ServedModels, drain: DrainState) -> APIRouter:
    """The routes that a supervisor asks."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health")
    async def health() -> Health:
        """Answers as long as the process does."""
        return Health(status="ok", version=__version__)

    @routes.get("/ready")
    async def ready() -> Ready:
        """Answers 200 when models are served, their engines work and new requests are taken, else 503."""
        if drain.is_draining:
            raise drain.rejection()
        if served_models.default not in served_models.services:
            raise Unavailable("No model is loaded yet.")
        if stopped := [name for name, service in served_models.services.items() if not service.is_healthy]:
            raise Unavailable(
                f"The engine of {', '.join(sorted(stopped))} has stopped after an error. Restart the server."
            )
        return Ready(status="ready", models=sorted(served_models.services))

    return routes
