"""What the docs show runs: their Python blocks, in order, against a server with the model in the box."""

import re
from pathlib import Path

import pytest

from turnwise.assemble import chat_service
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import listening

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "```python" in path.read_text(encoding="utf-8"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url():
    store = open_store("sqlite:///:memory:")
    with chat_service(store=store) as service, listening(create_app({"box": service}, default="box")) as url:
        yield url
    store.close()


def test_there_are_pages_with_examples():
    assert {page.name for page in PAGES} >= {"long_talks.md", "parameters.md", "prompting.md", "texts.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page, url):
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        code = "\n" * line + block.group(1).replace(SHOWN, url)  # so that a failure names the page's own line
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_links_and_pictures_of_a_page_exist(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
