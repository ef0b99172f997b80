"""Both runners do the same."""

import pytest
from reference import RUNNERS, Desk

from turnwise.engine.native.library import library


@pytest.fixture(params=RUNNERS, scope="module")
def both_runners(request):
    """Everything in the module is tried with both."""
    if request.param == "native" and library() is None:
        pytest.skip("no compiled library")
    Desk.kind = request.param
    yield request.param
    Desk.kind = ""
