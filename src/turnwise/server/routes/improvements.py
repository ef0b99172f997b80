"""`/v1/improvements`: cycles of `turnwise improve`, which another process runs, and their reports."""

import base64
import hashlib
import re

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from turnwise.core.errors import NotFound, TurnwiseError
from turnwise.core.executors import IMPROVEMENT_EXECUTOR
from turnwise.core.improvement_reports import ImprovementReader
from turnwise.server.route_roles import requires
from turnwise.server.schema.improvement_bodies import CycleBody, ImprovementList, ModelImprovement
from turnwise.server.served_models import ServedModels

PATH = "/v1/improvements"
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def router(reader: ImprovementReader | None, served_models: ServedModels) -> APIRouter:
    """Return the routes. Without a reader the list is empty, and no model has a report."""
    routes = APIRouter(tags=["improvements"])

    def read_model(opened: ImprovementReader, model: str) -> ModelImprovement:
        try:
            return ModelImprovement(
                model=model,
                running=opened.is_running(model),
                new_answers=opened.num_new_answers(model),
                cycles=[CycleBody.of(cycle) for cycle in opened.cycles(model)],
            )
        except TurnwiseError as error:  # one damaged file must not hide the other models
            return ModelImprovement(model=model, running=False, new_answers=None, cycles=[], error=str(error))

    def read_list() -> ImprovementList:
        models = () if reader is None else tuple(served_models.services)
        return ImprovementList(data=[read_model(reader, model) for model in models if reader is not None])

    def read_report(model: str, number: int) -> str:
        if reader is None or model not in served_models.services:
            raise NotFound(f"No model with cycles has the name '{model[:100]}' on this server.")
        return reader.report(model, number)

    @routes.get(PATH)
    @requires("admin")
    async def list_improvements() -> ImprovementList:
        """List the cycles of the served models, oldest first."""
        return await IMPROVEMENT_EXECUTOR.run(read_list)

    @routes.get(PATH + "/{model:path}/{number}/report", response_class=HTMLResponse)
    @requires("admin")
    async def get_report(model: str, number: int) -> HTMLResponse:
        """Get the report of a cycle, a self-contained page without scripts."""
        html = await IMPROVEMENT_EXECUTOR.run(read_report, model, number)
        return HTMLResponse(html, headers={"Content-Security-Policy": report_policy(html), "Cache-Control": "no-store"})

    return routes


def report_policy(html: str) -> str:
    """The content security policy of a report: its own style sheet, which is the first one, and nothing else.

    `sandbox` gives the page an origin of its own.
    """
    styles = _STYLE.search(html)
    digest = base64.b64encode(hashlib.sha256((styles[1] if styles else "").encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox"
    )
