"""Documents of an API key are never shown with another key."""

from contextlib import ExitStack

import httpx
import pytest
from knowledge_requests import DOCUMENT, PRICE, complete, documents, search, upload

from turnwise.app.chat_services import open_chat_service
from turnwise.app.knowledge.served_base import ServedKnowledgeBase
from turnwise.app.scenario_services import add_service_path
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.server.app import create_app
from turnwise.store import open_key_store
from turnwise.testing import serve_in_thread


def test_a_document_is_never_found_with_another_key(ann, bob, clients, model):
    document = upload(ann)
    assert complete(ann, PRICE).json()["service"]["citations"][0]["source"] == "tables.md"  # fills every cache
    num_requests = len(model.requests)
    for text in (PRICE, "oak table 410 EUR", "tables.md"):
        assert not [passage for passage in search(bob, text) if passage["filename"] == "tables.md"]
    for mode in ("lexical", "dense"):
        assert not [passage for passage in search(bob, PRICE, mode=mode) if passage["filename"] == "tables.md"]
    for fields in ({}, {"scenario": "shop"}, {"stream": True}):
        answer = complete(bob, PRICE, **fields)
        assert "410" not in answer.text
        assert "tables.md" not in answer.text
    prompts = [message.content for request in model.requests[num_requests:] for message in request.messages]
    assert "410" not in "".join(prompts)
    path = f"/v1/knowledge/shop/documents/{document['id']}"
    assert bob.get(path).status_code == bob.delete(path).status_code == 404
    assert [entry["shared"] for entry in documents(bob)] == [True]
    assert clients["none"].get(path).status_code == 401
    assert complete(ann, PRICE).json()["service"]["decision"] == "knowledge"


@pytest.mark.costly
def test_the_prefix_cache_of_a_model_has_no_passages_for_another_key(base, tmp_path):
    keys = open_key_store(f"sqlite:///{tmp_path / 'keys.db'}")
    knowledge = {"shop": ServedKnowledgeBase("shop", base)}
    headers = [{"Authorization": f"Bearer {keys.create(name)}"} for name in ("carl", "dora")]
    with open_chat_service() as model:
        services = add_service_path({"box": model}, ScenarioLibrary([]), knowledge=knowledge)
        app = create_app(services, default="box", keys=keys, knowledge=knowledge)
        with serve_in_thread(app) as url, ExitStack() as stack:
            carl, dora = (stack.enter_context(httpx.Client(base_url=url, timeout=120, headers=h)) for h in headers)
            answers = [
                complete(client, "Within how many days do deliveries arrive?", max_tokens=4, temperature=0).json()
                for client in (carl, carl, dora)
            ]
    cached = [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers]
    assert cached[0] == cached[2] == 0 < cached[1]
    assert answers[2]["service"]["citations"][0]["source"] == "shared.txt"


def test_a_key_cannot_replace_or_delete_a_document_of_another_key(ann, bob):
    upload(ann)
    other = upload(bob, DOCUMENT.replace("410", "999"))
    assert "410 EUR" in search(ann, "oak table")[0]["text"]
    bob.delete(f"/v1/knowledge/shop/documents/{other['id']}")
    assert "410 EUR" in search(ann, "oak table")[0]["text"]


def test_shared_documents_are_found_by_all_keys_and_deleted_by_none(ann, bob):
    (shared,) = documents(bob)
    for client in (ann, bob):
        assert search(client, "deliveries")[0]["shared"] is True
        refused = client.delete(f"/v1/knowledge/shop/documents/{shared['id']}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        assert "turnwise knowledge delete" in refused.json()["error"]["message"]
