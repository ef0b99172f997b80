"""Client libraries against a server in a separate process, and the table of supported capabilities.

The server runs with the interpreter in TURNWISE_PYTHON, so that the clients may be installed in another environment.
It has the bundled model; required tool choices and schemas make it answer as a large model would.
"""

import os
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import openai
import pytest
from clients_shared import CAPABILITIES

results = pytest.StashKey[dict[str, dict[str, str]]]()


@pytest.fixture(scope="session")
def url():
    python = os.environ.get("TURNWISE_PYTHON", sys.executable)
    command = [python, str(Path(__file__).with_name("server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        assert address.startswith("http"), "the server did not start"
        yield address
        server.stdin.close()
        server.wait(30)


@pytest.fixture(scope="session")
def openai_client(url):
    """The official Python client."""
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
def _offline_settings(url):
    """Set environment variables that clients read, so that no request reaches another server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "OPENAI_API_KEY": "-", "OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DO_NOT_TRACK": "1",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        yield


def pytest_ignore_collect(collection_path, config):
    """Collect the heavy clients only with `-m clients` (`make clients`)."""
    return True if collection_path.name == "heavy" and "clients" not in (config.option.markexpr or "") else None


def pytest_addoption(parser):
    parser.addoption("--clients-table", help="write the table of clients and capabilities to this file")


def pytest_configure(config):
    config.stash[results] = defaultdict(dict)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    marker = item.get_closest_marker("capability")
    if marker is not None and (report.when == "call" or report.failed or report.skipped):
        client = getattr(item, "callspec", None) and item.callspec.params.get("client")
        client = client or item.module.CLIENT
        outcome = {"passed": "yes", "failed": "**no**", "skipped": "not tried"}[report.outcome]
        item.config.stash[results][client].setdefault(marker.args[0], outcome)
        if outcome != "yes":
            item.config.stash[results][client][marker.args[0]] = outcome
    return report


def pytest_sessionfinish(session):
    option = session.config.getoption("--clients-table")
    if option:
        path = Path(option)
        rows = _rows(path.read_text(encoding="utf-8")) if path.exists() else {}
        rows |= {client: _row(client, row) for client, row in session.config.stash[results].items()}
        path.write_text(_table(rows), encoding="utf-8")


def _rows(table):
    """Return the rows of a table by client. Another environment may have written them."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines[2:]}


def _row(client, outcomes):
    cells = [client, _version(client), *(outcomes.get(name, "—") for name in CAPABILITIES)]
    return f"| {' | '.join(cells)} |"


def _table(rows):
    lines = [
        "# Clients", "",
        "Client libraries that are tested against a running server, with their versions. `make clients` runs the tests "
        "in `tests/clients` and writes this page.", "",
        "- *Tool loop*: the model calls a tool, the client sends the output together with the history, and the model "
        "answers. The call is required by the request, because the bundled model is too small to decide on it.",
        "- *Embeddings*: 150 texts with the default batch size of the client.",
        "- *Context overflow*: the client raises its own error for a prompt that is too long, or one that names the "
        "published code.",
        "- A dash: the client has no such function.", "",
        "| client | version | " + " | ".join(CAPABILITIES) + " |",
        "| --- | --- |" + " --- |" * len(CAPABILITIES),
        *(rows[client] for client in sorted(rows, key=str.lower)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


PACKAGES = {
    "openai (Python), chat": "openai", "openai (Python), responses": "openai", "LangChain": "langchain-openai",
    "LangChain, responses": "langchain-openai", "LiteLLM": "litellm", "pydantic-ai": "pydantic-ai-slim",
    "pydantic-ai, responses": "pydantic-ai-slim",
    "instructor": "instructor", "OpenAI Agents SDK": "openai-agents", "OpenAI Agents SDK, chat": "openai-agents",
    "DSPy": "dspy", "LlamaIndex": "llama-index-llms-openai-like", "llm": "llm", "llm, responses": "llm",
    "smolagents": "smolagents",
    }  # fmt: skip


def _version(client):
    if client in PACKAGES:
        return version(PACKAGES[client])
    from js_clients import version_of

    return version_of(client)
