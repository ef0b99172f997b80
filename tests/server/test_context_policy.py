"""Context policies over HTTP: the field `context_policy` and the report in the response."""

import json

import httpx
import openai
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.core.chat_response import ContextReport, ConversationSummary, Usage
from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread

HELLO = [{"role": "user", "content": "Hello there"}]
DROPPED = ContextReport("drop_oldest", 4)
SUMMARISED = ContextReport("summarise", 4, ConversationSummary("About lamps.", 3, Usage(90, 4)))
REPORT_BODIES = {
    DROPPED: {"policy": "drop_oldest", "dropped_messages": 4},
    SUMMARISED: {
        "policy": "summarise",
        "dropped_messages": 4,
        "summary": {"text": "About lamps.", "messages": 3, "prompt_tokens": 90, "completion_tokens": 4},
    },
}


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened_client:
        yield opened_client


@pytest.fixture(params=REPORT_BODIES, ids=lambda report: report.policy)
def report(request, services, store, chat):
    services["scripted"] = ScriptedChatService(store=store, context=request.param)
    return request.param


def create(client, **fields):
    return client.chat.completions.create(model="scripted", messages=HELLO, **fields)


def test_a_response_has_the_report_of_the_policy(client, report):
    assert create(client).model_extra["context"] == REPORT_BODIES[report]


def test_a_stored_completion_has_the_report(client, report):
    id = create(client, store=True).id
    assert client.chat.completions.retrieve(id).model_extra["context"] == REPORT_BODIES[report]


@pytest.mark.parametrize("usage", [False, True])
def test_the_last_chunk_of_a_stream_has_the_report(client, report, usage):
    *chunks, last = create(client, stream=True, stream_options={"include_usage": usage})
    assert last.model_extra["context"] == REPORT_BODIES[report]
    assert not any("context" in chunk.model_extra for chunk in chunks)
    assert (last.usage is not None) == usage


def test_a_response_without_dropped_messages_has_no_report(client, chat):
    assert "context" not in create(client).model_extra
    assert not any("context" in chunk.model_extra for chunk in create(client, stream=True))


@pytest.mark.parametrize(
    ("policy", "code", "excerpt"),
    [
        (
            "forget",
            "invalid_parameter",
            "known: drop_oldest, pinned, pinned_summary, refuse, sliding_window, summarise",
        ),
        ("drop_old", "invalid_parameter", "did you mean 'drop_oldest'"),
        (3, "invalid_type", "must be one of drop_oldest, pinned, pinned_summary, refuse"),
    ],
)
def test_an_unknown_policy_is_rejected(client, chat, policy, code, excerpt):
    with pytest.raises(openai.BadRequestError, match=excerpt) as error:
        create(client, extra_body={"context_policy": policy})
    assert (error.value.body["param"], error.value.body["code"]) == ("context_policy", code)
    assert chat.requests == []


# Pinned messages


def test_a_pinned_message_reaches_the_chat_service_and_the_store(client, chat, store, url):
    id = store.create(title="t", model="scripted").id
    messages = [
        {"role": "user", "content": "I am Ada.", "pinned": True},
        {"role": "user", "content": "Hi", "pinned": None},
    ]
    client.chat.completions.create(model="scripted", messages=messages, extra_body={"conversation_id": id})
    assert chat.requests[0].messages == (Message("user", "I am Ada.", pinned=True), Message("user", "Hi"))
    stored = httpx.get(f"{url}/v1/conversations/{id}").json()["messages"]
    assert [message["pinned"] for message in stored] == [True, False, False]


@pytest.mark.parametrize("pinned", ["yes", 1, []])
def test_pinned_must_be_a_boolean(client, chat, pinned):
    with pytest.raises(openai.BadRequestError, match=r"'messages\[0\].pinned' must be true or false") as error:
        client.chat.completions.create(model="scripted", messages=[{**HELLO[0], "pinned": pinned}])
    assert error.value.body["param"] == "messages[0].pinned"


# With the bundled model


@pytest.fixture(scope="module")
def box_client():
    with (
        open_chat_service(context_policy="drop_oldest") as service,
        serve_in_thread(create_app({"box": service}, default="box")) as url,
    ):
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)


LONG = [
    {"role": "system", "content": "You are friendly."},
    *[{"role": role, "content": f"{role} {i}: how is the weather in the mountains today?"}
      for i in range(60) for role in ("user", "assistant")],
    {"role": "user", "content": "Tell me a joke"},
]  # fmt: skip


def test_a_real_model_answers_a_conversation_longer_than_its_context(box_client):
    answer = box_client.chat.completions.create(model="box", messages=LONG, max_tokens=20, temperature=0)
    dropped = answer.model_extra["context"]["dropped_messages"]
    assert 0 < dropped < 120
    short = box_client.chat.completions.create(
        model="box", messages=[LONG[0], *LONG[1 + dropped :]], max_tokens=20, temperature=0
    )
    assert short.choices[0].message.content == answer.choices[0].message.content
    assert "context" not in short.model_extra
    assert short.usage.prompt_tokens == answer.usage.prompt_tokens


def test_the_policy_refuse_rejects_a_conversation_that_does_not_fit(box_client):
    with pytest.raises(openai.BadRequestError) as error:
        box_client.chat.completions.create(model="box", messages=LONG, extra_body={"context_policy": "refuse"})
    assert error.value.code == "context_length_exceeded"


def test_a_summary_is_generated_once_and_counted_in_the_usage(box_client):
    def create_context(**more):
        answer = box_client.chat.completions.create(
            model="box", messages=LONG, max_tokens=5, temperature=0, extra_body={"context_policy": "summarise"}, **more
        )
        return answer.usage, answer.model_extra["context"]

    usage, context = create_context()
    second_usage, cached_context = create_context()
    assert context["summary"]["text"]
    assert 0 < context["summary"]["completion_tokens"] <= 1024 // 8
    assert (cached_context["summary"]["prompt_tokens"], cached_context["summary"]["completion_tokens"]) == (0, 0)
    assert usage.prompt_tokens == second_usage.prompt_tokens + context["summary"]["prompt_tokens"]
    assert usage.completion_tokens == second_usage.completion_tokens + context["summary"]["completion_tokens"]
    stream = box_client.chat.completions.create(
        model="box", messages=LONG, max_tokens=5, temperature=0, stream=True, extra_body={"context_policy": "summarise"}
    )
    assert json.loads(json.dumps(list(stream)[-1].model_extra["context"])) == cached_context
