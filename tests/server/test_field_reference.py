"""`docs/http.md` is generated from the request bodies."""

from pathlib import Path

import pytest

from turnwise.server.field_reference import BODIES, render_markdown, render_route

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == render_markdown(), (
        "run: python -m turnwise.server.field_reference > docs/http.md"
    )


@pytest.mark.parametrize("route", BODIES)
def test_every_field_has_a_row(route):
    section = render_route(route, BODIES[route])
    assert section in render_markdown()
    for name in BODIES[route].model_fields:
        assert f"| `{name}` |" in section
