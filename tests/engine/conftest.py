"""Fixtures of the engine's tests."""

import pytest
from reference import RUNNERS, SchedulerHarness

from turnwise.engine.native.library import library


@pytest.fixture(params=RUNNERS, scope="module")
def both_runners(request):
    """Runs the tests of a module with both runners."""
    if request.param == "native" and library() is None:
        pytest.skip("no compiled library")
    SchedulerHarness.kind = request.param
    yield request.param
    SchedulerHarness.kind = ""
