"""`/v1/runs`: starts, watches, stops and deletes trainings and evaluations."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import HTMLResponse

from turnwise.core.errors import InvalidParameter, NotFound
from turnwise.core.executors import TimeoutExecutor
from turnwise.core.runs import Run, RunManager
from turnwise.server.long_poll import Wait, wait_for_change
from turnwise.server.middleware.drain import DrainState
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.routes.handoffs import respond
from turnwise.server.routes.improvements import report_policy
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.run_bodies import (
    DeletedRun,
    RunBody,
    RunList,
    RunModelBody,
    RunPlan,
    RunProgressBody,
    RunRequest,
    ServedRun,
    TrainingRequest,
)

PATH = "/v1/runs"
MAX_POSITION = 2**53 - 1  # browsers read larger numbers inexactly

_EXECUTOR = TimeoutExecutor("folder of runs", 4, 20.0)
_START_EXECUTOR = TimeoutExecutor("folder of runs", 2, 60.0)  # the first start imports torch
_PLAN_EXECUTOR = TimeoutExecutor("plan of a training", 2, 330.0)  # longer than the limit of a plan itself
_SERVE_EXECUTOR = TimeoutExecutor("loading of a model", 1, 600.0)


def router(runs: RunManager | None, max_body_bytes: int, drain: DrainState) -> APIRouter:
    """Return the routes. Without a manager the list is empty, and no run exists."""
    routes = APIRouter(tags=["runs"])

    def manager() -> RunManager:
        if runs is None:
            raise NotFound("This server starts no trainings and evaluations.")
        return runs

    def read_list() -> RunList:
        if runs is None:
            return RunList(data=[], models=[], datasets=[], rated_answers=None, can_serve=False)
        return RunList(
            data=[RunBody.of(run) for run in runs.list()],
            models=[RunModelBody.of(model) for model in runs.models()],
            datasets=list(runs.dataset_names()),
            rated_answers=runs.num_rated_answers(),
            can_serve=runs.can_serve,
        )

    def start(body: RunRequest) -> Run:
        if body.training is not None and body.evaluation is None:
            return manager().start_training(body.training.options())
        if body.evaluation is not None and body.training is None:
            return manager().start_evaluation(body.evaluation.options())
        raise InvalidParameter("training", "Send either 'training' or 'evaluation'.")

    def read_progress(id: str, after: int) -> RunProgressBody:
        run = manager().get(id)  # before the events: at the end of a run, all of them are read
        return RunProgressBody.with_run(run, manager().progress(id, after))

    @routes.get(PATH)
    @requires("admin")
    async def list_runs() -> RunList:
        """List the runs, the newest first, with the models and data sets that new ones can name."""
        return await _EXECUTOR.run(read_list)

    @routes.post(PATH, openapi_extra=json_request_body(RunRequest))
    @requires("admin")
    async def start_run(request: Request) -> RunBody:
        """Start a training or an evaluation. It waits until earlier ones have ended, and goes on without the server."""
        body = await read_body(request, RunRequest, max_body_bytes)
        return RunBody.of(await _START_EXECUTOR.run(start, body))

    @routes.post(PATH + "/plan", openapi_extra=json_request_body(TrainingRequest))
    @requires("admin")
    async def plan_training(request: Request) -> RunPlan:
        """Make a dry run of a training: the size of the data, the steps, the time and the memory."""
        body = await read_body(request, TrainingRequest, max_body_bytes)
        return RunPlan.of(await _PLAN_EXECUTOR.run(manager().plan_training, body.options()))

    @routes.get(PATH + "/{id}")
    @requires("admin")
    async def get_run(id: str) -> RunBody:
        """Get a run."""
        return RunBody.of(await _EXECUTOR.run(manager().get, id))

    @routes.delete(PATH + "/{id}")
    @requires("admin")
    async def delete_run(id: str) -> DeletedRun:
        """Delete a run that has ended, with its model and its copy of the data."""
        await _EXECUTOR.run(manager().delete, id)
        return DeletedRun(id=id)

    @routes.post(PATH + "/{id}/stop")
    @requires("admin")
    async def stop_run(id: str) -> RunBody:
        """Stop a run. A training writes a checkpoint first; a second request after five seconds ends it at once."""
        return RunBody.of(await _EXECUTOR.run(manager().stop, id))

    @routes.post(PATH + "/{id}/resume")
    @requires("admin")
    async def resume_run(id: str) -> RunBody:
        """Let a stopped or failed run go on: a training from its last checkpoint."""
        return RunBody.of(await _EXECUTOR.run(manager().resume, id))

    @routes.post(PATH + "/{id}/serve")
    @requires("admin")
    async def serve_run(id: str) -> ServedRun:
        """Load the model of a training into this server until it stops."""
        return ServedRun(id=id, model=await _SERVE_EXECUTOR.run(manager().serve, id))

    @routes.get(PATH + "/{id}/progress", responses={200: {"model": RunProgressBody}})
    @requires("admin")
    async def get_progress(
        request: Request,
        id: str,
        after: Annotated[int, Query(ge=0, le=MAX_POSITION, description="`position` of the last response.")] = 0,
        wait: Wait = 0,
    ) -> Response:
        """Get the events of a run. With `wait`, answer when there are new ones, or when the run has ended."""

        async def read_news() -> RunProgressBody:
            await wait_for_change(lambda: _EXECUTOR.run(manager().end_position, id), after, wait, drain)
            return await _EXECUTOR.run(read_progress, id, after)

        return await respond(request, read_news())

    @routes.get(PATH + "/{id}/report", response_class=HTMLResponse)
    @requires("admin")
    async def get_run_report(id: str) -> HTMLResponse:
        """Get the report of a run, a self-contained page without scripts."""
        html = await _EXECUTOR.run(manager().report, id)
        return HTMLResponse(html, headers={"Content-Security-Policy": report_policy(html), "Cache-Control": "no-store"})

    return routes
