"""`docs/http.md` is generated from the request models."""

from pathlib import Path

import pytest

from turnwise.server.field_reference import ROUTES, render_markdown

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == render_markdown(), (
        "run: python -m turnwise.server.field_reference > docs/http.md"
    )


@pytest.mark.parametrize("route", ROUTES)
def test_each_field_has_a_row(route):
    (section,) = [text for text in render_markdown().split("\n## ") if text.startswith(f"`POST {route}`")]
    model, _, unsupported = ROUTES[route]
    for name in model.model_fields.keys() | unsupported.keys():
        assert f"| `{name}` |" in section
