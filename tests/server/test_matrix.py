"""The page of fields is the code's own."""

from pathlib import Path

from turnwise.server.fields import HONOURED, UNSUPPORTED
from turnwise.server.matrix import markdown

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def test_the_page_says_what_the_code_does():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: python -m turnwise.server.matrix > docs/http.md"


def test_every_field_has_a_row():
    page = markdown()
    for name in HONOURED | UNSUPPORTED.keys():
        assert f"| `{name}` |" in page
