"""Scenarios over HTTP: the list, the request fields, the report in every form, metrics and the log."""

import json
import logging

import httpx
import pytest

from service_scenarios import write_scenario
from turnwise.app.scenario_services import add_service_path
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

QUESTION = "how long is the guarantee, the warranty?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenarios")
    write_scenario(folder / "shop")
    write_scenario(folder / "spoilt", intents="hours: [")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'chats.db'}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def resources():
    """Classifiers that both servers of this module use, so that they are fitted once."""
    return ResourceCache(waits=True)


@pytest.fixture(scope="module")
def client(folder, store, resources):
    models = {"scripted": ScriptedChatService(["Every lamp has a warranty ", "of 24 months."], store=store)}
    app = create_app(add_service_path(models, ScenarioLibrary([folder]), resources=resources), default="scripted")
    with serve_in_thread(app) as url, httpx.Client(base_url=url, timeout=120) as opened:
        yield opened


def complete(client, text, **fields):
    body = {"model": "latest", "messages": [{"role": "user", "content": text}], "scenario": "shop", **fields}
    return client.post("/v1/chat/completions", json=body)


def test_scenarios_are_listed_with_the_error_of_invalid_ones(client):
    shop, spoilt = client.get("/v1/scenarios").json()["data"]
    assert (shop["id"], shop["title"]["zh"], shop["languages"]) == ("shop", "灯具店", ["en", "zh"])
    assert shop["error"] is None
    assert spoilt["id"] == "spoilt"
    assert "intents.yaml" in spoilt["error"]


def test_the_report_is_the_same_in_stream_response_and_stored_message(client):
    conversation = client.post("/v1/conversations", json={}).json()["id"]
    response = complete(client, QUESTION, conversation_id=conversation).json()
    assert response["choices"][0]["message"]["content"] == "Every lamp has a warranty of 24 months. [1]"
    (citation,) = response["service"]["citations"]
    assert citation["text"] == "Every lamp has a warranty of 24 months from the day of purchase."
    messages = client.get(f"/v1/conversations/{conversation}").json()["messages"]
    assert messages[-1]["meta"]["service"] == response["service"]
    chunks = stream(client, QUESTION)
    assert [chunk["service"]["citations"] for chunk in chunks if "service" in chunk] == [[citation]]
    assert "service" in chunks[-1]
    with_usage = stream(client, QUESTION, stream_options={"include_usage": True})
    assert with_usage[-1]["service"]["citations"] == [citation]


def stream(client, text, **fields):
    lines = complete(client, text, stream=True, **fields).text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_answers_of_the_model_alone_have_no_report(client):
    response = complete(client, "hi", scenario=None)
    assert "service" not in response.json()


def test_answers_and_steps_are_counted_without_contents(client, caplog):
    with caplog.at_level(logging.INFO):
        complete(client, "where is my parcel LW-123456")
    metrics = client.get("/metrics").text
    assert 'turnwise_service_answers_total{answer="template",scenario="shop"}' in metrics
    assert 'turnwise_service_steps_total{outcome="verbatim",scenario="shop",step="template_answer"}' in metrics
    assert 'turnwise_service_step_seconds_count{step="safety_line"}' in metrics
    assert "LW-123456" not in metrics
    assert "LW-123456" not in caplog.text


def test_a_handoff_by_chat_is_in_the_queue(client):
    conversation = client.post("/v1/conversations", json={}).json()["id"]
    response = complete(client, "I want to talk to a person", conversation_id=conversation).json()
    assert response["choices"][0]["message"]["content"] == "A colleague takes over now."
    queue = client.get("/v1/handoffs").json()["data"]
    assert conversation in [handoff["conversation_id"] for handoff in queue]
    client.delete(f"/v1/conversations/{conversation}/handoff")


@pytest.mark.parametrize(
    ("fields", "param", "sentence"),
    [
        ({"scenario": "shpo"}, "scenario", "did you mean 'shop'"),
        ({"scenario": "spoilt"}, None, "intents.yaml"),
        ({"scenario": 3}, "scenario", "must be a string"),
        ({"knowledge": ["faq"]}, "knowledge", "There is no knowledge base 'faq'"),
        ({"knowledge": {"name": "faq"}}, "knowledge", "must be a name or a list of names"),
        ({"knowledge": "faq", "scenario": None}, "knowledge", "There is no knowledge base 'faq'"),
        ({"n": 2}, "n", "cannot be combined with the scenario"),
        ({"logprobs": True}, "logprobs", "cannot be combined with the scenario"),
        ({"response_format": {"type": "json_object"}}, "response_format", "cannot be combined with the scenario"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction", "cannot be combined with the scenario"),
    ],
)
def test_what_cannot_be_honoured_is_refused(client, fields, param, sentence):
    refused = complete(client, "hi", **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert sentence in refused.json()["error"]["message"]


def test_the_person_sees_a_safety_line_that_is_said_while_they_speak(client):
    conversation = client.post("/v1/conversations", json={}).json()["id"]
    opened = complete(client, "I want to talk to a person", conversation_id=conversation).json()
    assert opened["service"]["decision"] == "hand_off"
    queue = client.get("/v1/handoffs").json()["data"]
    handoff = next(entry for entry in queue if entry["conversation_id"] == conversation)
    claimed = client.post(f"/v1/handoffs/{handoff['id']}/claim", json={"agent": "Ana"}).json()
    messages = [
        {"role": "user", "content": "I want to talk to a person"},
        {"role": "assistant", "content": "A colleague takes over now."},
        {"role": "user", "content": "I got an electric shock"},
    ]
    answer = complete(client, "", messages=messages, conversation_id=conversation).json()
    assert answer["choices"][0]["message"]["content"] == "Call 999 now."
    seen = client.get(f"/v1/handoffs/{handoff['id']}?after={claimed['revision'] + 1}&wait=20").json()
    assert seen["messages"][-1]["text"] == "Call 999 now.", "the line is an event after that of the message"


def test_a_server_without_scenarios_lists_none_and_refuses_the_fields(url):
    with httpx.Client(base_url=url) as client:
        assert client.get("/v1/scenarios").json() == {"object": "list", "data": []}
        for fields, param in (
            ({"scenario": "shop"}, "scenario"),
            ({"scenario": None, "knowledge": ["x"]}, "knowledge"),
        ):
            refused = complete(client, "hi", **fields)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
            assert "is not supported" in refused.json()["error"]["message"]


def test_a_default_scenario_answers_requests_that_name_none(folder, resources):
    services = add_service_path(
        {"scripted": ScriptedChatService()}, ScenarioLibrary([folder]), default_scenario="shop",
        resources=resources,
    )  # fmt: skip
    with serve_in_thread(create_app(services, default="scripted")) as url, httpx.Client(base_url=url) as client:
        response = complete(client, "can I have a discount", scenario=None)
        assert response.json()["service"]["decision"] == "refusal:discounts"
        prompt = client.post("/v1/completions", json={"model": "latest", "prompt": "discount"})
        assert prompt.json()["choices"][0]["text"] == "Hello, you."
