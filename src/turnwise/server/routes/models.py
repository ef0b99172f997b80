"""`GET /v1/models` and `GET /v1/parameters`."""

from contextlib import suppress
from typing import Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from turnwise.core.errors import ModelNotFound
from turnwise.server.route_roles import requires
from turnwise.server.schema.model_body import ModelBody
from turnwise.server.schema.parameter_bodies import ParameterList
from turnwise.server.served_models import ServedModels


class ModelList(BaseModel):
    """The served models; `default` is the one that the aliases stand for.

    `has_monitor`: the server shows a text monitor on `/v1/monitor`.
    """

    object: Literal["list"] = "list"
    data: list[ModelBody]
    default: str
    has_monitor: bool


def router(served_models: ServedModels, *, has_monitor: bool) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models")
    @routes.get("/v1/models/", include_in_schema=False)
    @requires("user")
    async def list_models() -> ModelList:
        """List the served models, and the versions of each that requests can name."""
        data = [ModelBody.of(name, service) for name, service in sorted(served_models.services.items())]
        for name, service in served_models.versioned_services().items():
            for version in service.live_versions():
                with suppress(ModelNotFound):  # it has just been replaced
                    selected = service.select(version.number)
                    data.append(ModelBody.of(version.reference, selected, version_of=name))
        data += [ModelBody.of_embedding_service(entry) for entry in served_models.embedding_services.values()]
        data += [ModelBody.of_classifier(entry) for entry in served_models.classifiers.values()]
        return ModelList(data=data, default=served_models.default, has_monitor=has_monitor)

    @routes.get("/v1/models/{name:path}")
    @requires("user")
    async def get_model(name: str) -> ModelBody:
        """Get a model by its served name or an alias."""
        if not name:
            raise HTTPException(404)  # a trailing slash, as on every other route
        if (embedding_service := served_models.embedding_services.get(name)) is not None:
            return ModelBody.of_embedding_service(embedding_service)
        if (classifier := served_models.classifiers.get(name)) is not None:
            return ModelBody.of_classifier(classifier)
        service = served_models.find(name)
        if "@" in name and name not in served_models.services:
            return ModelBody.of(name, service, version_of=service.name)
        return ModelBody.of(service.name, service)

    @routes.get("/v1/parameters")
    @requires("user")
    async def list_parameters() -> ParameterList:
        """List the generation parameters of requests, and the fields of the settings panel."""
        return ParameterList.of_chat_completions()

    return routes
