"""`/v1/versions`: versions of the served models, their figures, promotion and roll-back."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from turnwise.core.errors import NotFound, VersionConflict
from turnwise.core.executors import VERSION_EXECUTOR
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import LoadedVersion, VersionControl
from turnwise.core.version_comparison import compare_versions
from turnwise.core.version_rules import FORCED, needs_force, rollback_target
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.version_bodies import (
    ServingVersion,
    VersionBody,
    VersionDifferences,
    VersionEventBody,
    VersionHistory,
    VersionList,
    VersionPromotion,
    VersionRollback,
)
from turnwise.server.served_models import ServedModels

PATH = "/v1/versions"
MAX_EVENT = 2**63 - 1  # numbers of events are 64-bit integers
MAX_TIME = 1e12  # Unix time in seconds


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
            return VersionList(data=[], revision=0, rollback={})
        registry = control.registry
        revision = registry.revision()  # before the list, so that no change is missed
        data, rollback = [], {}
        for model in served_models.versioned_services():
            outcomes, entries = registry.outcomes(model), loaded(model)
            versions, events = registry.list(model), registry.events(model)
            data += [VersionBody.of(version, entries.get(version.number), outcomes, events) for version in versions]
            target = rollback_target(versions, events)
            rollback[model] = None if target is None else target.reference
        return VersionList(data=data, revision=revision, rollback=rollback)

    def body_of(version: ModelVersion) -> VersionBody:
        model = version.content.model
        return VersionBody.of(version, loaded(model).get(version.number), {}, control_of(model).registry.events(model))

    def compare(model: str, first: int, second: int) -> VersionDifferences:
        sides = [control_of(model).registry.get(model, number) for number in (first, second)]
        differences = compare_versions(*sides)
        return VersionDifferences(
            first=sides[0].reference, second=sides[1].reference, recipe=differences["recipe"],
            data=differences["data"], figures=differences["figures"], lineage=differences["other"],
        )  # fmt: skip

    def serving_at(model: str, moment: float) -> ServingVersion:
        version = control_of(model).registry.serving_at(model, moment)
        return ServingVersion(time=moment, version=None if version is None else version.reference)

    def roll_back_model(model: str, reason: str) -> VersionBody:
        return body_of(control_of(model).roll_back(model, reason=reason))

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

    @routes.get(PATH + "/{model:path}/serving")
    @requires("admin")
    async def get_serving(model: str, at: Annotated[float, Query(ge=0, le=MAX_TIME)]) -> ServingVersion:
        """Return the version of a model that served at a Unix time."""
        return await VERSION_EXECUTOR.run(serving_at, model, at)

    @routes.get(PATH + "/{model:path}/diff")
    @requires("admin")
    async def compare_two(
        model: str, first: Annotated[int, Query(ge=1, le=MAX_EVENT)], second: Annotated[int, Query(ge=1, le=MAX_EVENT)]
    ) -> VersionDifferences:
        """Compare two versions of a model, by their numbers: settings of the recipes, training files and figures."""
        return await VERSION_EXECUTOR.run(compare, model, first, second)

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
        return await VERSION_EXECUTOR.run(roll_back_model, model, body.reason)

    return routes
