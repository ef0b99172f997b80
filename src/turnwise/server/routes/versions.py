"""`/v1/versions`: versions of the served models, their figures, promotion and roll-back."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from turnwise.core.errors import NotFound, VersionConflict
from turnwise.core.executors import VERSION_EXECUTOR
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import LoadedVersion, VersionControl
from turnwise.core.version_rules import FORCED, needs_force
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.version_bodies import (
    VersionBody,
    VersionEventBody,
    VersionHistory,
    VersionList,
    VersionPromotion,
    VersionRollback,
)
from turnwise.server.served_models import ServedModels

PATH = "/v1/versions"
MAX_EVENT = 2**63 - 1  # numbers of events are 64-bit integers


def router(control: VersionControl | None, served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes. Without versions the list is empty, and each model is unknown."""
    routes = APIRouter(tags=["versions"])

    def control_of(model: str) -> VersionControl:
        if control is None or model not in served_models.versioned_services():
            raise NotFound(f"No model with versions has the name '{model[:100]}' on this server.")
        return control

    def loaded(model: str) -> dict[int, LoadedVersion]:
        service = served_models.versioned_services().get(model)
        versions = () if service is None else service.loaded_versions()
        return {entry.version.number: entry for entry in versions}

    def read_list() -> VersionList:
        if control is None or not served_models.versioned_services():
            return VersionList(data=[], revision=0)
        registry = control.registry
        revision = registry.revision()  # before the list, so that no change is missed
        data = []
        for model in served_models.versioned_services():
            outcomes, entries = registry.outcomes(model), loaded(model)
            data += [VersionBody.of(version, entries.get(version.number), outcomes) for version in registry.list(model)]
        return VersionList(data=data, revision=revision)

    def body_of(version: ModelVersion) -> VersionBody:
        return VersionBody.of(version, loaded(version.content.model).get(version.number), {})

    def promote(model: str, number: int, body: VersionPromotion) -> VersionBody:
        opened = control_of(model)
        version, reason = opened.registry.get(model, number), body.reason
        if needs_force(version, body.state, opened.registry.events(model)):
            if not body.force:
                raise VersionConflict(f"{version.reference} has not passed the gate. 'force' promotes it anyway.")
            reason += FORCED
        changed = opened.change_state(model, number, body.state, reason=reason, share=body.share or 0.0)
        return body_of(changed)

    @routes.get(PATH)
    @requires("admin")
    async def list_versions() -> VersionList:
        """List the versions of the served models with states and figures, oldest first."""
        return await VERSION_EXECUTOR.run(read_list)

    @routes.get(PATH + "/{model:path}/history")
    @requires("admin")
    async def get_history(model: str, after: Annotated[int, Query(ge=0, le=MAX_EVENT)] = 0) -> VersionHistory:
        """List all changes of the states of a model's versions, oldest first; with `after`, only later ones."""
        events = await VERSION_EXECUTOR.run(control_of(model).registry.events, model, after=after)
        return VersionHistory(data=[VersionEventBody.of(event) for event in events])

    @routes.post(PATH + "/{model:path}/{number}/promote", openapi_extra=json_request_body(VersionPromotion))
    @requires("admin")
    async def promote_version(model: str, number: int, request: Request) -> VersionBody:
        """Change the state of a version. Running requests end with the version that they began with."""
        body = await read_body(request, VersionPromotion, max_body_bytes)
        return await VERSION_EXECUTOR.run(promote, model, number, body)

    @routes.post(PATH + "/{model:path}/rollback", openapi_extra=json_request_body(VersionRollback))
    @requires("admin")
    async def roll_back(model: str, request: Request) -> VersionBody:
        """Let the version serve again that served before the present one."""
        body = await read_body(request, VersionRollback, max_body_bytes)
        return body_of(await VERSION_EXECUTOR.run(control_of(model).roll_back, model, reason=body.reason))

    return routes
