"""The page of fields is the code's own."""

from pathlib import Path

import pytest

from turnwise.server.field_reference import ROUTES, render_markdown
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.unsupported_fields import SUPPORTED_FIELDS, UNSUPPORTED_FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def test_the_page_says_what_the_code_does():
    assert PAGE.read_text(encoding="utf-8") == render_markdown(), (
        "run: python -m turnwise.server.field_reference > docs/http.md"
    )


@pytest.mark.parametrize("route", ROUTES)
def test_every_field_has_a_row(route):
    (section,) = [part for part in render_markdown().split("\n## ") if part.startswith(f"`POST {route}`")]
    model, _, refused = ROUTES[route]
    for name in model.model_fields.keys() | refused.keys():
        assert f"| `{name}` |" in section


def test_every_field_is_either_honoured_or_refused():
    assert not SUPPORTED_FIELDS & UNSUPPORTED_FIELDS.keys()
    assert ChatCompletionRequest.model_fields.keys() == SUPPORTED_FIELDS | UNSUPPORTED_FIELDS.keys()
