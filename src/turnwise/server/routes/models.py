"""`GET /v1/models` and `GET /v1/parameters`."""

from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from turnwise.core.parameters import PARAMETER_SPECS, ParameterSpec
from turnwise.server.schema.model_body import ModelBody
from turnwise.server.schema.sampling_parameters import JSON_TYPES
from turnwise.server.served_models import ServedModels


class ModelList(BaseModel):
    """The served models; `default` is the one that the aliases stand for."""

    object: Literal["list"] = "list"
    data: list[ModelBody]
    default: str


class ParameterBody(BaseModel):
    """A generation parameter.

    `off` is the value without effect. `low` and `high` are inclusive bounds; with `low_open`, `low` is exclusive.
    `optional` parameters may be null, `many` take a list, `control` ones are shown on the chat page.
    """

    name: str
    type: str
    help: str
    default: Any
    off: Any
    low: float | None
    high: float | None
    low_open: bool
    optional: bool
    many: bool
    control: bool

    @classmethod
    def of(cls, spec: ParameterSpec) -> "ParameterBody":
        """Convert a declared parameter."""
        return cls(
            name=spec.name, type=JSON_TYPES[spec.kind], help=spec.help, default=spec.default, off=spec.off,
            low=spec.low, high=spec.high, low_open=spec.low_open, optional=spec.optional, many=spec.many,
            control=spec.control,
        )  # fmt: skip


class ParameterList(BaseModel):
    """All generation parameters."""

    object: Literal["list"] = "list"
    data: list[ParameterBody]


def router(served_models: ServedModels) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models")
    @routes.get("/v1/models/", include_in_schema=False)
    async def list_models() -> ModelList:
        """List the served models."""
        data = [ModelBody.of(name, service) for name, service in sorted(served_models.services.items())]
        return ModelList(data=data, default=served_models.default)

    @routes.get("/v1/models/{name:path}")
    async def get_model(name: str) -> ModelBody:
        """Get a model by its served name or an alias."""
        if not name:
            raise HTTPException(404)  # a trailing slash, as on every other route
        service = served_models.find(name)
        return ModelBody.of(service.name, service)

    @routes.get("/v1/parameters")
    async def list_parameters() -> ParameterList:
        """List the generation parameters of requests."""
        return ParameterList(data=[ParameterBody.of(spec) for spec in PARAMETER_SPECS.values()])

    return routes
