"""`GET /v1/scenarios`: the scenarios that requests can name."""

import asyncio
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from turnwise.core.chat_service import ScenarioInfo
from turnwise.server.error_responses import truncate
from turnwise.server.route_roles import requires
from turnwise.server.served_models import LATEST, ServedModels

MAX_ERROR_CHARS = 400


class ScenarioBody(BaseModel):
    """A scenario. `title` and `description` are by language.

    `error` tells why its present files are invalid. If there are titles nevertheless, the last valid version answers.
    """

    id: str
    object: Literal["scenario"] = "scenario"
    title: dict[str, str]
    description: dict[str, str]
    languages: list[str]
    error: str | None = None

    @classmethod
    def of(cls, info: ScenarioInfo) -> "ScenarioBody":
        """Convert a scenario of the chat service."""
        return cls(
            id=info.name, title=dict(info.titles), description=dict(info.descriptions), languages=list(info.languages),
            error=None if info.error is None else truncate(info.error, MAX_ERROR_CHARS),
        )  # fmt: skip


class ScenarioList(BaseModel):
    """The scenarios, by name."""

    object: Literal["list"] = "list"
    data: list[ScenarioBody]


def router(served_models: ServedModels) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["scenarios"])

    @routes.get("/v1/scenarios")
    @requires("user")
    async def list_scenarios() -> ScenarioList:
        """List the scenarios that a chat completion can name as `scenario`."""
        service = served_models.find(LATEST)
        infos = await asyncio.to_thread(lambda: service.scenarios)  # reads files that have changed
        return ScenarioList(data=[ScenarioBody.of(info) for info in infos])

    return routes
