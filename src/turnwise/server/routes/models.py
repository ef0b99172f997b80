"""`/v1/models`: what is served; `/v1/parameters`: how its answers may be shaped."""

from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from turnwise.core.parameters import PARAMETER_SPECS, ParameterSpec
from turnwise.server.schema.chat_completion_response import ModelBody
from turnwise.server.schema.unsupported_fields import JSON_TYPES
from turnwise.server.served_models import ServedModels


class ModelList(BaseModel):
    """The served models; `default` is the one that the aliases mean."""

    object: Literal["list"] = "list"
    data: list[ModelBody]
    default: str


class ParameterBody(BaseModel):
    """A generation parameter: its type, bounds, neutral value and help."""

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
        """A declared parameter as JSON."""
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
    """The routes that describe what is served."""
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models")
    @routes.get("/v1/models/", include_in_schema=False)
    async def list_models() -> ModelList:
        """The served models."""
        cards = [ModelBody.of(name, service) for name, service in sorted(served_models.services.items())]
        return ModelList(data=cards, default=served_models.default)

    @routes.get("/v1/models/{name:path}")
    async def get_model(name: str) -> ModelBody:
        """One model, by its name or an alias."""
        if not name:
            raise HTTPException(404)  # a slash too many, as on every other route
        service = served_models.find(name)
        return ModelBody.of(service.name, service)

    @routes.get("/v1/parameters")
    async def list_parameters() -> ParameterList:
        """The generation parameters that requests may carry."""
        return ParameterList(data=[ParameterBody.of(spec) for spec in PARAMETER_SPECS.values()])

    return routes
