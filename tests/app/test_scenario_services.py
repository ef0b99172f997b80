"""The fit of the intents at the start of a server."""

import asyncio

import pytest

from service_scenarios import write_scenario
from turnwise.app.scenario_services import open_resources, open_scenario_library, prepare_scenarios
from turnwise.core.settings import Settings

INTENTS = """
opening_hours: {examples: {en: [when are you open, what are your opening hours]}}
order_status: {examples: {en: [where is my parcel, track my order]}}
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    write_scenario(tmp_path / "shops/a_shop", intents=INTENTS)
    write_scenario(tmp_path / "shops/lamps", intents=INTENTS + "jobs: {answer: generate, examples: {en: [any jobs]}}")
    write_scenario(tmp_path / "shops/spoilt", intents="[")
    return open_scenario_library([tmp_path / "shops"], "lamps")


def lines_of(library, default):
    lines = []
    asyncio.run(prepare_scenarios(open_resources(None), library, default, lines.append))
    return lines


def test_own_scenarios_are_fitted_at_the_start_and_the_default_one_first(library):
    first, *lines = lines_of(library, "lamps")
    assert first == "The intents of 2 scenarios are fitted in the background; until then, example messages decide."
    assert [line.partition(" are ready")[0] for line in lines] == ["The intents of lamps", "The intents of a_shop"]
    assert lines[-1].endswith("(2 of 2).")
    assert len(list((Settings.from_environment().home / "cache/intents").iterdir())) == 2


def test_nothing_is_said_without_scenarios_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    assert lines_of(open_scenario_library([], None), None) == []
