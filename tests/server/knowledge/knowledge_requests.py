"""Requests to a knowledge base over HTTP."""

import time

PRICE = "How much does the oak table cost?"
DOCUMENT = "# Tables\n\nThe oak table costs 410 EUR.\n\nThe pine table costs 95 EUR.\n"
LIMIT = 50_000


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
