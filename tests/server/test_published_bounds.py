"""Every bound of a field is the published one or wider, or `docs/http.md` documents the difference."""

from pathlib import Path

import httpx
import pytest
from published_bounds import BOUNDS, CHAT, EMBEDDINGS, RESPONSES, TEXT

DOCS = Path(__file__).parents[2] / "docs" / "http.md"
REQUIRED = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    TEXT: {"prompt": "hi"},
    EMBEDDINGS: {"input": "hi"},
    RESPONSES: {"input": "hi"},
}
CASES = [pytest.param(bound, id=f"{bound.route.removeprefix('/v1/')} {bound.field}") for bound in BOUNDS]


@pytest.fixture
def post(url, chat):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield lambda route, fields: client.post(route, json={"model": "scripted", **REQUIRED[route], **fields})


@pytest.mark.parametrize("bound", CASES)
def test_values_on_a_published_bound_are_accepted(post, bound):
    for fields in bound.at:
        answer = post(bound.route, fields)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("bound", CASES)
def test_values_beyond_a_bound_are_rejected_with_the_name_of_the_field(post, bound):
    for fields in bound.beyond:
        error = post(bound.route, fields).json()["error"]
        assert bound.field in error["param"]


def test_every_difference_is_documented():
    text = " ".join(DOCS.read_text(encoding="utf-8").split())
    for bound in BOUNDS:
        assert bound.difference in text, bound.field
