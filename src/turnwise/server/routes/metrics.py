"""`GET /metrics`, for Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from turnwise.server.prometheus_metrics import ServerMetrics
from turnwise.server.route_roles import requires


def router(metrics: ServerMetrics) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["health"])

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    @requires("admin")
    async def get_metrics() -> Response:
        """Return request, completion and token counts and latencies in Prometheus' text format."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes
