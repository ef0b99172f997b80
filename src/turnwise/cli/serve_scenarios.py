"""Fits the intents of scenarios while the server runs."""

import asyncio

import typer

from turnwise.app.scenario_services import prepare_scenarios
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.server.uvicorn_server import print_url

_TASKS: set[asyncio.Task[None]] = set()  # an event loop keeps no reference to its tasks


def start_fitting(resources: ResourceCache, library: ScenarioLibrary, default_scenario: str | None, url: str) -> None:
    """Print the URL of the server, and start to fit the intents. Called in the server's event loop."""
    print_url(url)
    task = asyncio.create_task(prepare_scenarios(resources, library, default_scenario, typer.echo))
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
