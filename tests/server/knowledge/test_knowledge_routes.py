"""Documents of a knowledge base over HTTP: added, listed, searched and deleted."""

import time

import httpx
import pytest
from knowledge_requests import DOCUMENT, LIMIT, PRICE, complete, documents, search, upload

from turnwise.server.routes import knowledge as routes


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


def test_a_server_without_knowledge_bases_lists_none(url):
    with httpx.Client(base_url=url) as client:
        assert client.get("/v1/knowledge").json() == {"object": "list", "data": []}
        refused = client.get("/v1/knowledge/shop/documents")
        assert refused.status_code == 404
        assert "--knowledge NAME" in refused.json()["error"]["message"]
