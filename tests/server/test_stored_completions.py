"""Stored completions and feedback, with the official client where it supports them."""

import time

import httpx
import openai
import pytest

from turnwise.core.errors import SaveFailed

HELLO = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]


@pytest.fixture
def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)


@pytest.fixture
def post(url):
    with httpx.Client(base_url=url) as client:
        yield lambda path, **body: client.post(path, json=body)


def complete(client, **fields):
    return client.chat.completions.create(model="scripted", messages=HELLO, **fields)


def test_a_stored_completion_equals_the_one_that_was_sent(client):
    sent = complete(client, store=True, metadata={"topic": "hello"}, temperature=0.5)
    stored = client.chat.completions.retrieve(sent.id)
    assert stored.choices == sent.choices
    assert stored.usage == sent.usage
    assert stored.metadata == sent.metadata == {"topic": "hello"}
    assert stored.temperature == 0.5


def test_a_streamed_completion_is_stored_complete(client):
    text, id = "", ""
    for chunk in complete(client, store=True, stream=True):
        id = chunk.id
        text += chunk.choices[0].delta.content or ""
    stored = client.chat.completions.retrieve(id)
    assert (stored.choices[0].message.content, stored.choices[0].finish_reason) == (text, "stop")


def test_a_completion_is_stored_only_on_request_and_only_if_complete(client, chat):
    complete(client)
    chat._delay = 0.3  # so that the client disconnects before the end
    stream = complete(client, store=True, stream=True)
    next(iter(stream))
    stream.close()
    while not chat.num_cancelled:
        time.sleep(0.01)
    assert list(client.chat.completions.list()) == []


def test_the_list_is_paginated_and_filtered(client):
    ids = [complete(client, store=True, metadata={"odd": str(i % 2)}).id for i in range(5)]
    assert [stored.id for stored in client.chat.completions.list(limit=2)] == ids  # the client requests further pages
    assert [stored.id for stored in client.chat.completions.list(order="desc", metadata={"odd": "1"})] == [
        ids[3],
        ids[1],
    ]
    assert list(client.chat.completions.list(model="other")) == []


def test_metadata_is_updated_and_a_completion_is_deleted(client):
    id = complete(client, store=True).id
    assert client.chat.completions.update(id, metadata={"a": "b"}).metadata == {"a": "b"}
    assert client.chat.completions.delete(id).deleted
    with pytest.raises(openai.NotFoundError, match="no stored completion"):
        client.chat.completions.retrieve(id)


def test_the_messages_of_a_completion_are_listed(client):
    id = complete(client, store=True).id
    messages = list(client.chat.completions.messages.list(id))
    assert [(message.role, message.content) for message in messages] == [("system", "Be kind."), ("user", "Hello")]
    assert [m.id for m in client.chat.completions.messages.list(id, order="desc")] == [f"{id}-1", f"{id}-0"]


@pytest.mark.parametrize(
    "metadata",
    [{str(i): "x" for i in range(17)}, {"k" * 65: "v"}, {"": "v"}, {"k": "v" * 513}, {"k": 3}, ["a"], "a"],
)
def test_metadata_out_of_bounds_is_rejected(post, metadata):
    answer = post("/v1/chat/completions", model="scripted", messages=HELLO, metadata=metadata)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("metadata")


def test_feedback_is_stored_with_its_completion(client, post, url):
    id = complete(client, store=True, n=2).id
    first = post("/v1/feedback", completion_id=id, rating="down", correction="Hi!", comment="stiff", index=1).json()
    post("/v1/feedback", completion_id=id, rating="up", user="me")
    listed = httpx.get(f"{url}/v1/chat/completions/{id}/feedback").json()
    assert listed[0] == first
    assert [(entry["rating"], entry["index"], entry["user"]) for entry in listed] == [
        ("down", 1, None),
        ("up", 0, "me"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "rating"),
        ({"rating": "great"}, 400, "rating"),
        ({"rating": "up", "index": 5}, 400, "index"),
        ({"rating": "up", "stars": 5}, 400, "stars"),
        ({"correction": ""}, 400, "correction"),
        ({"rating": "up", "completion_id": "nobody"}, 404, None),
    ],
)
def test_invalid_feedback_is_rejected(client, post, body, status, param):
    answer = post("/v1/feedback", **{"completion_id": complete(client, store=True).id, **body})
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param


def test_a_store_failure_is_an_error(client, chat, monkeypatch):
    def full(self, completion):
        raise SaveFailed("The disk is full. Nothing was changed.")

    monkeypatch.setattr(type(chat.store.completions), "add", full)
    with pytest.raises(openai.InternalServerError, match="disk is full"):
        complete(client, store=True)
    with pytest.raises(openai.APIError, match="disk is full"):
        list(complete(client, store=True, stream=True))
