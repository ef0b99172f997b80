"""The official client works with the server."""

import asyncio
import json

import httpx
import openai
import pytest

from turnwise.core.messages import Message

HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_response_has_all_published_fields(client, chat):
    answer = client.chat.completions.create(model="scripted", messages=HELLO)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "scripted"
    assert answer.system_fingerprint == "fp_scripted"
    [choice] = answer.choices
    assert (choice.index, choice.message.role, choice.message.content) == (0, "assistant", "Hello, you.")
    assert choice.finish_reason == "stop"
    assert choice.message.refusal is None
    assert answer.usage.prompt_tokens == 2
    assert answer.usage.completion_tokens == 4
    assert answer.usage.total_tokens == 6
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    [chat_request] = chat.requests
    assert chat_request.messages == (Message("user", "Hello there"),)
    assert chat_request.sampling == {}


def test_a_stream_has_the_same_content_as_the_response(client):
    chunks = list(client.chat.completions.create(model="latest", messages=HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].delta.content for c in chunks[1:-1]] == ["Hello", ", ", "you", "."]
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({(c.id, c.created, c.model, c.object) for c in chunks}) == 1
    assert chunks[0].model == "scripted", "an alias is answered with the name behind it"
    assert all(c.usage is None for c in chunks)


def test_the_last_chunk_has_the_usage_and_no_choices(client):
    chunks = list(
        client.chat.completions.create(
            model="scripted", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 6
    assert all(c.usage is None for c in chunks[:-1])
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_many_concurrent_requests_of_the_async_client(url):
    async def run_clients():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

            async def stream_text():
                stream = await client.chat.completions.create(model="scripted", messages=HELLO, stream=True)
                return "".join([c.choices[0].delta.content or "" async for c in stream])

            async def response_text():
                answer = await client.chat.completions.create(model="scripted", messages=HELLO)
                return answer.choices[0].message.content

            return await asyncio.gather(*[f() for _ in range(10) for f in (stream_text, response_text)])

    assert asyncio.run(run_clients()) == ["Hello, you."] * 20


def test_sampling_parameters_reach_the_chat_service(client, chat):
    client.chat.completions.create(
        model="scripted", messages=HELLO, max_completion_tokens=7, temperature=0, top_p=0.5, seed=3, stop="\n",
        user="ada", extra_body={"top_k": 4},
    )  # fmt: skip
    assert chat.requests[0].sampling == {
        "max_tokens": 7, "temperature": 0.0, "top_p": 0.5, "seed": 3, "stop": ("\n",), "top_k": 4,
    }  # fmt: skip


def test_the_message_of_a_response_is_accepted_as_input(client, chat):
    answer = client.chat.completions.create(model="scripted", messages=HELLO).choices[0].message
    client.chat.completions.create(model="scripted", messages=[*HELLO, answer, *HELLO])
    client.chat.completions.create(model="scripted", messages=[*HELLO, answer.model_dump(), *HELLO])
    expected = (Message("user", "Hello there"), Message("assistant", "Hello, you."), Message("user", "Hello there"))
    assert chat.requests[1].messages == chat.requests[2].messages == expected


def test_text_parts_roles_and_names_reach_the_chat_service(client, chat):
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    client.chat.completions.create(
        model="scripted",
        messages=[
            {"role": "system", "content": "s"},
            {"role": "developer", "content": "d"},
            {"role": "user", "content": parts, "name": "ada"},
        ],
    )
    expected = (Message("system", "s"), Message("developer", "d"), Message("user", "one\ntwo", "ada"))
    assert chat.requests[0].messages == expected


@pytest.mark.parametrize("alias", ["latest", "stable"])
def test_models_are_found_by_name_and_alias(client, alias):
    assert [model.id for model in client.models.list()] == ["scripted"]
    card = client.models.retrieve(alias)
    assert (card.id, card.owned_by, card.max_model_len) == ("scripted", "turnwise", 2048)
    with pytest.raises(openai.NotFoundError, match="'nope' is not served here"):
        client.models.retrieve("nope")


def test_errors_raise_the_exception_classes_of_the_client(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4", messages=HELLO)
    assert (missing.value.code, missing.value.param, missing.value.type) == (
        "model_not_found", "model", "invalid_request_error",
    )  # fmt: skip
    with pytest.raises(openai.BadRequestError, match=r"'temperature' must be between 0 and 2, got 2\.5"):
        client.chat.completions.create(model="scripted", messages=HELLO, temperature=2.5)


def test_the_raw_stream_has_the_published_form(url):
    import httpx

    body = {"model": "scripted", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: ") and "\n" not in event for event in events[:-1])
    assert '"delta":{"role":"assistant","content":""}' in events[0]
    assert '"delta":{},"finish_reason":"stop"' in events[-4]
    assert '"choices":[]' in events[-3]


def test_obfuscation_pads_the_chunks(url, client):
    ask = {"model": "scripted", "messages": HELLO, "stream": True}
    padded = {**ask, "stream_options": {"include_obfuscation": True, "include_usage": True}}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=padded) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    *chunks, done = lines
    assert done == "[DONE]"
    assert {len(chunk.encode()) % 128 for chunk in chunks} == {0}
    assert all(json.loads(chunk)["obfuscation"].isalpha() for chunk in chunks if json.loads(chunk)["obfuscation"])
    texts = [
        "".join(
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**arguments)
            if chunk.choices
        )
        for arguments in (ask, padded)
    ]
    assert texts[0] == texts[1]
