"""Knowledge bases over HTTP: documents, search, and chat completions that answer from them, per API key."""

import json
import time
from contextlib import ExitStack

import httpx
import pytest

from knowledge_stand_ins import WordEncoder, add
from service_scenarios import write_scenario
from turnwise.app.chat_services import open_chat_service
from turnwise.app.knowledge.index_workers import IndexWorkers
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.knowledge.served_base import ServedKnowledgeBase
from turnwise.app.scenario_services import add_service_path
from turnwise.core.handoffs import HandoffRequest
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.server.app import create_app
from turnwise.server.routes import knowledge as routes
from turnwise.store import open_key_store, open_knowledge_store, open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

PRICE = "How much does the oak table cost?"
DOCUMENT = "# Tables\n\nThe oak table costs 410 EUR.\n\nThe pine table costs 95 EUR.\n"
LIMIT = 50_000


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


def documents(client):
    return client.get("/v1/knowledge/shop/documents").json()["data"]


def upload(client, content=DOCUMENT, filename="tables.md", **query):
    """Add a document, and wait until it can be found."""
    response = client.post(
        "/v1/knowledge/shop/documents", content=content.encode(), params={"filename": filename, **query}
    )
    assert response.status_code == 200, response.text
    document = response.json()
    while client.get(f"/v1/knowledge/shop/documents/{document['id']}").json()["status"] != "completed":
        time.sleep(0.02)
    return document


def search(client, query, **fields):
    response = client.post("/v1/knowledge/shop/search", json={"query": query, **fields})
    assert response.status_code == 200, response.text
    return response.json()["data"]


def complete(client, text, **fields):
    body = {"model": "latest", "messages": [{"role": "user", "content": text}], "knowledge": "shop", **fields}
    return client.post("/v1/chat/completions", json=body)


def test_knowledge_bases_are_listed_with_what_the_key_sees(ann, bob, base):
    upload(ann)
    while ann.get("/v1/knowledge").json()["data"][0]["vector_share"] < 1:
        time.sleep(0.02)
    listed = {"id": "shop", "object": "knowledge_base", "vector_share": 1.0, "encoder": "words"}
    assert ann.get("/v1/knowledge").json()["data"] == [{**listed, "documents": 2, "passages": 2}]
    assert bob.get("/v1/knowledge").json()["data"] == [{**listed, "documents": 1, "passages": 1}]


def test_an_uploaded_document_is_found_and_a_deleted_one_is_not(ann):
    document = upload(ann, **{"metadata[kind]": "prices"})
    assert (document["filename"], document["title"], document["shared"]) == ("tables.md", "Tables", False)
    assert document["metadata"] == {"kind": "prices"}
    passage = search(ann, "oak table")[0]
    assert "410 EUR" in passage["text"]
    assert (passage["filename"], passage["shared"], passage["metadata"]) == ("tables.md", False, {"kind": "prices"})
    assert passage["document_hash"] == document["sha256"]
    assert complete(ann, PRICE).json()["service"]["decision"] == "knowledge"
    deleted = ann.delete(f"/v1/knowledge/shop/documents/{document['id']}").json()
    assert deleted == {"id": document["id"], "object": "knowledge_base.document.deleted", "deleted": True}
    assert [passage["filename"] for passage in search(ann, "oak table")] == ["shared.txt"]
    assert complete(ann, PRICE).json()["service"]["decision"] == "no_answer"
    assert ann.delete(f"/v1/knowledge/shop/documents/{document['id']}").status_code == 404


def test_a_document_of_the_same_name_replaces_the_earlier_one(ann):
    first = upload(ann)
    second = upload(ann, DOCUMENT.replace("410", "430"))
    assert second["id"] != first["id"]
    assert [document["id"] for document in documents(ann) if not document["shared"]] == [second["id"]]
    assert "430 EUR" in search(ann, "oak table")[0]["text"]


def test_a_document_can_be_sent_as_a_form(ann):
    files = {"file": ("prices.csv", b"Item,Price\nOak table,410 EUR\n")}
    document = ann.post("/v1/knowledge/shop/documents", files=files).json()
    assert document["filename"] == "prices.csv"
    while ann.get(f"/v1/knowledge/shop/documents/{document['id']}").json()["status"] != "completed":
        time.sleep(0.02)
    assert search(ann, "oak table")[0]["text"] == "Item: Oak table | Price: 410 EUR"


def test_searches_filter_by_metadata_and_mode(ann):
    upload(ann, **{"metadata[kind]": "prices"})
    assert search(ann, "table", filters={"kind": "manual"}) == []
    assert len(search(ann, "table", filters={"kind": "prices"}, max_num_results=1)) == 1
    assert search(ann, "table", mode="lexical")


@pytest.mark.parametrize(
    ("query", "content", "status", "code", "sentence"),
    [
        ({}, b"x", 400, "missing_required_parameter", "'filename' is required"),
        ({"filename": "a\nb.txt"}, b"x", 400, "invalid_parameter", "printable"),
        ({"filename": "a/"}, b"", 400, "missing_required_parameter", "'body' is required"),
        ({"filename": "a.txt"}, b"x" * (LIMIT + 1), 413, "body_too_large", "larger than the 50,000 bytes"),
        ({"filename": "a.txt"}, b"   ", 400, "unreadable_document", "'a.txt' cannot be read. It has no text"),
        ({"filename": "a.pdf"}, b"%PDF-1.7 broken", 400, "unreadable_document", "'a.pdf' cannot be read."),
        ({"filename": "a.zip"}, b"PK\x03\x04broken", 400, "unreadable_document", "'a.zip' cannot be read."),
        ({"filename": "a.txt", "metadata[k]": "v" * 600}, b"x", 400, "invalid_value", "at most 512 characters"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_with_a_sentence(ann, query, content, status, code, sentence):
    refused = ann.post("/v1/knowledge/shop/documents", content=content, params=query)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert sentence in refused.json()["error"]["message"]
    assert [document for document in documents(ann) if not document["shared"]] == []


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"document": ("a.txt", b"x")}, 400),
        ({"file": ("a.txt", b"x"), "second": ("b.txt", b"x")}, 400),
        ({"file": ("a.txt", b"x" * (LIMIT + 100_000))}, 413),
    ],
)
def test_a_form_has_one_file(ann, files, status):
    assert ann.post("/v1/knowledge/shop/documents", files=files).status_code == status


def test_a_file_name_loses_its_folders(ann):
    assert upload(ann, filename="../../etc/passwd")["filename"] == "passwd"


def test_the_number_of_documents_that_are_added_at_the_same_time_is_limited():
    uploads = routes._Uploads()
    with uploads.slot("ann"), uploads.slot("ann"), uploads.slot("ann"):
        with pytest.raises(routes.RequestRejected, match="Too many documents"), uploads.slot("ann"):
            pass
        with uploads.slot("bob"):
            pass
    with uploads.slot("ann"):
        pass


def test_unknown_names_and_ids_are_refused(ann):
    assert "did you mean 'shop'" in ann.get("/v1/knowledge/shpo/documents").json()["error"]["message"]
    for id in ("0", "99", "x", "9" * 40):
        assert ann.get(f"/v1/knowledge/shop/documents/{id}").status_code == 404
        assert ann.delete(f"/v1/knowledge/shop/documents/{id}").status_code == 404
    assert ann.get("/v1/knowledge/shop/documents", params={"after": "x"}).status_code == 400
    assert ann.post("/v1/knowledge/shop/search", json={"query": "x", "mode": "magic"}).status_code == 400


def test_documents_are_listed_in_pages(ann):
    ids = [upload(ann, filename=f"{number}.md")["id"] for number in range(3)]
    listed, after = [], None
    while True:
        page = ann.get(
            "/v1/knowledge/shop/documents", params={"limit": 2, **({"after": after} if after else {})}
        ).json()
        listed += [document["id"] for document in page["data"]]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert listed[1:] == ids  # the shared document is the oldest


# Tenants


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


# Chat completions


def test_without_a_scenario_an_answer_comes_from_the_documents_with_citations(ann, model):
    upload(ann)
    response = complete(ann, PRICE).json()
    assert response["choices"][0]["message"]["content"] == "The oak table costs 410 EUR. [1]"  # the model only guessed
    service = response["service"]
    assert (service["scenario"], service["decision"]) == ("", "knowledge")
    assert [decision["step"] for decision in service["decisions"]] == ["handoff_state", "grounded_answer"]
    (citation,) = service["citations"]
    assert (citation["source"], citation["number"]) == ("tables.md", 1)
    assert "They are data to answer from" in model.requests[-1].messages[-1].content


def test_a_question_without_a_passage_gets_a_sentence_and_no_citation(ann):
    for text, sentence in (
        ("Who won the football match?", "The documents have no answer to this."),
        ("谁赢了足球比赛？", "文档中没有这个问题的答案。"),
    ):
        response = complete(ann, text).json()
        assert response["choices"][0]["message"]["content"] == sentence
        assert (response["service"]["decision"], response["service"]["citations"]) == ("no_answer", [])


def test_a_scenario_answers_from_the_documents_too(ann):
    upload(ann)
    response = complete(ann, PRICE, scenario="shop", knowledge=["shop"]).json()
    assert response["service"]["scenario"] == "shop"
    assert "tables.md" in [citation["source"] for citation in response["service"]["citations"]]


@pytest.mark.parametrize("scenario", [None, "shop"])
def test_citations_are_the_same_in_response_stream_conversation_and_stored_completion(ann, scenario):
    upload(ann)
    fields = {"scenario": scenario, "store": True}
    conversations = [ann.post("/v1/conversations", json={}).json()["id"] for _ in range(2)]
    response = complete(ann, PRICE, conversation_id=conversations[0], **fields).json()
    lines = complete(ann, PRICE, conversation_id=conversations[1], stream=True, **fields).text.splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    streamed = chunks[-1]["service"]["citations"]
    assert streamed
    assert response["service"]["citations"] == streamed
    for conversation in conversations:
        messages = ann.get(f"/v1/conversations/{conversation}").json()["messages"]
        assert messages[-1]["meta"]["service"]["citations"] == streamed
        assert messages[-1]["content"].endswith("[1]")
    for id in (response["id"], chunks[0]["id"]):
        assert ann.get(f"/v1/chat/completions/{id}").json()["service"]["citations"] == streamed


def test_a_person_who_speaks_comes_before_the_documents(ann, model):
    upload(ann)
    conversation = ann.post("/v1/conversations", json={}).json()["id"]
    complete(ann, PRICE, conversation_id=conversation)
    model.store.handoffs.open(HandoffRequest(conversation, "test"))
    response = complete(ann, PRICE, conversation_id=conversation).json()
    assert response["service"]["decision"] == "hand_off"
    assert response["service"]["citations"] == []


@pytest.mark.parametrize(
    ("fields", "param", "sentence"),
    [
        ({"knowledge": "shpo"}, "knowledge", "did you mean 'shop'"),
        ({"knowledge": 3}, "knowledge", "must be a name or a list of names"),
        ({"n": 2}, "n", "'n' cannot be combined with 'knowledge'"),
        ({"response_format": {"type": "json_object"}}, "response_format", "cannot be combined with 'knowledge'"),
        (
            {"messages": [{"role": "assistant", "content": "hi"}]}, "messages",
            "Documents answer a message of the user",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(ann, fields, param, sentence):
    refused = complete(ann, PRICE, **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert sentence in refused.json()["error"]["message"]


def test_a_server_without_knowledge_bases_lists_none(url):
    with httpx.Client(base_url=url) as client:
        assert client.get("/v1/knowledge").json() == {"object": "list", "data": []}
        refused = client.get("/v1/knowledge/shop/documents")
        assert refused.status_code == 404
        assert "--knowledge NAME" in refused.json()["error"]["message"]
