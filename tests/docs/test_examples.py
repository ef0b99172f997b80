"""The examples of the docs work: Python blocks run against a server with the bundled model; commands are parsed."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer

from knowledge_stand_ins import add
from turnwise.app.chat_services import open_chat_service
from turnwise.app.knowledge.open_base import open_knowledge_base
from turnwise.app.knowledge.served_base import ServedKnowledgeBase
from turnwise.app.scenario_services import add_service_path
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.cli.main import app
from turnwise.scenarios.scenario_library import ScenarioLibrary, builtin_folder
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import serve_in_thread

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
TEXTS = [*READMES, *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path for path in TEXTS if "```python" in path.read_text(encoding="utf-8")]
COMMAND = re.compile(r"^ {4}(?:\$ )?(turnwise (?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)  # in an indented block
CODE_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
DOCUMENTED_URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    """The knowledge base of the examples."""
    with open_knowledge_base(str(tmp_path_factory.mktemp("knowledge") / "shop"), "none", create=True) as base:
        add(base.store, "handbook.txt", "Lamps can be returned within 30 days.")
        base.update_lexical()
        yield {"shop": ServedKnowledgeBase("shop", base)}


@pytest.fixture(scope="module")
def url(knowledge):
    store = open_store("sqlite:///:memory:")
    with open_chat_service(store=store) as service:
        library, resources = ScenarioLibrary([builtin_folder()]), ResourceCache(waits=True)
        services = add_service_path({"box": service}, library, knowledge=knowledge, resources=resources)
        with serve_in_thread(create_app(services, default="box", knowledge=knowledge)) as url:
            yield url
    store.close()


def test_there_are_pages_with_examples():
    assert {page.name for page in PAGES} >= {
        "README.md", "README.zh-CN.md", "long_conversations.md", "parameters.md", "prompting.md", "texts.md",
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page, url):
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in CODE_BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        code = "\n" * line + block.group(1).replace(DOCUMENTED_URL, url)  # a failure then names the line of the page
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_and_pictures_of_a_page_exist(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_the_anchors_of_links_exist(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*\.md)?#([^)]+)\)", page.read_text(encoding="utf-8")):
        assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


def anchors(page):
    """The anchors of the headings of a page, as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist_with_their_options(page):
    for match in COMMAND.finditer(page.read_text(encoding="utf-8")):
        words = shlex.split(match[1].replace("\\\n", " "), comments=True)
        for command in _split_at("&&", words):
            assert parsed(command), command


@cache
def command_tree():
    """All commands; it takes long to build."""
    return typer.main.get_command(app)


def parsed(words):
    """Parse a command without running it. Raises if an option or a value is invalid."""
    if words[0] != "turnwise":
        return True
    command, context, rest = command_tree(), None, words[1:]
    while hasattr(command, "commands") and rest and not (command.invoke_without_command and rest[0].startswith("-")):
        context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
        command, rest = command.commands[rest[0]], rest[1:]
    return command.make_context(command.name, rest, parent=context)


def _split_at(sign, words):
    if sign not in words:
        return [words]
    at = words.index(sign)
    return [words[:at], *_split_at(sign, words[at + 1 :])]


def test_a_command_with_an_unknown_option_is_found():
    with pytest.raises(Exception, match="No such option"):
        parsed(["turnwise", "data", "split", "a.jsonl", "--out", "b", "--shuffle"])
