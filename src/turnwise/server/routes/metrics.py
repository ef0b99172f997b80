"""`/metrics`: what was counted, for Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from turnwise.server.prometheus_metrics import ServerMetrics


def router(metrics: ServerMetrics) -> APIRouter:
    """The route that Prometheus reads."""
    routes = APIRouter(tags=["health"])

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics() -> Response:
        """Requests, completions, tokens and times, in Prometheus' text form."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes
