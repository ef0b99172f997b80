"""A server with a knowledge base, and clients with API keys."""

from contextlib import ExitStack

import httpx
import pytest
from knowledge_requests import LIMIT, documents

from knowledge_stand_ins import WordEncoder, add
from service_scenarios import write_scenario
from turnwise.app.knowledge.index_workers import IndexWorkers
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.knowledge.served_base import ServedKnowledgeBase
from turnwise.app.scenario_services import add_service_path
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.server.app import create_app
from turnwise.store import open_key_store, open_knowledge_store, open_store
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    opened = KnowledgeBase(folder, open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}"), WordEncoder())
    add(opened.store, "shared.txt", "Deliveries arrive within 12 days.", scope="")
    workers = IndexWorkers(opened)
    workers.start()
    yield opened
    workers.stop()
    opened.close()


@pytest.fixture(scope="module")
def model():
    return ScriptedChatService(lambda request: ["I ", "guess."])


@pytest.fixture(scope="module")
def clients(base, model, tmp_path_factory):
    """Clients with the keys of ann and bob, and without one."""
    folder = tmp_path_factory.mktemp("server")
    write_scenario(folder / "scenarios" / "shop")
    keys = open_key_store(f"sqlite:///{folder / 'keys.db'}")
    model.store = open_store(f"sqlite:///{folder / 'chats.db'}")
    knowledge = {"shop": ServedKnowledgeBase("shop", base, "words")}
    services = add_service_path({"scripted": model}, ScenarioLibrary([folder / "scenarios"]), knowledge=knowledge)
    app = create_app(services, default="scripted", keys=keys, knowledge=knowledge, document_limit=LIMIT)
    headers = {name: {"Authorization": f"Bearer {keys.create(name)}"} for name in ("ann", "bob")}
    with serve_in_thread(app) as url, ExitStack() as stack:
        yield {
            name: stack.enter_context(httpx.Client(base_url=url, timeout=120, headers=headers.get(name)))
            for name in ("ann", "bob", "none")
        }
    model.store.close()


@pytest.fixture
def ann(clients):
    yield clients["ann"]
    for document in documents(clients["ann"]):
        if not document["shared"]:
            clients["ann"].delete(f"/v1/knowledge/shop/documents/{document['id']}")


@pytest.fixture
def bob(clients):
    return clients["bob"]
