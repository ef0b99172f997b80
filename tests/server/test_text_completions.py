"""`/v1/completions` with a real model and the official client."""

import asyncio

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

CAPITAL = "The capital of France is"


@pytest.fixture(scope="module")
def service():
    with open_chat_service() as service:
        yield service


@pytest.fixture(scope="module")
def url(service):
    with serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as client:
        yield client


def create(client, prompt=CAPITAL, **fields):
    return client.completions.create(**{"model": "box", "prompt": prompt, "max_tokens": 8, "temperature": 0, **fields})


def test_a_text_is_continued_without_a_chat_template(client, service):
    answer = create(client)
    assert answer.object == "text_completion"
    assert answer.choices[0].text.startswith(" ")
    assert answer.choices[0].finish_reason in ("stop", "length")
    ids = service.tokens.encode_text(CAPITAL)
    assert answer.usage.prompt_tokens == len(ids)
    assert create(client, ids).choices[0].text == answer.choices[0].text


def test_the_default_limit_is_sixteen_tokens(client):
    answer = client.completions.create(model="box", prompt="Hello", extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 16


@settings(max_examples=25, deadline=None)
@given(
    prompts=st.lists(st.sampled_from(["Hello", "How do I", "你好", CAPITAL]), min_size=1, max_size=3),
    fields=st.fixed_dictionaries(
        {"seed": st.integers(0, 2**40), "temperature": st.floats(0, 2), "max_tokens": st.integers(1, 24),
         "n": st.integers(1, 3), "echo": st.booleans()},
        optional={"logprobs": st.integers(0, 5), "stop": st.sampled_from(["e", " a", "\n"])},
    ),
)  # fmt: skip
def test_a_stream_has_the_same_content_as_the_response(client, prompts, fields):
    response = create(client, prompts, **fields)
    assert [choice.index for choice in response.choices] == list(range(len(prompts) * fields["n"]))
    texts, tokens, ends = {}, {}, {}
    for chunk in create(client, prompts, stream=True, stream_options={"include_usage": True}, **fields):
        for piece in chunk.choices:
            texts[piece.index] = texts.get(piece.index, "") + piece.text
            if piece.logprobs:
                tokens.setdefault(piece.index, []).extend(
                    zip(piece.logprobs.tokens, piece.logprobs.token_logprobs, piece.logprobs.text_offset, strict=True)
                )
            ends[piece.index] = piece.finish_reason or ends.get(piece.index)
        if not chunk.choices:
            assert chunk.usage.completion_tokens == response.usage.completion_tokens
            assert chunk.usage.prompt_tokens == response.usage.prompt_tokens
    for choice in response.choices:
        assert choice.text == texts[choice.index]
        assert choice.finish_reason == ends[choice.index]
        if fields["echo"]:
            assert choice.text.startswith(prompts[choice.index // fields["n"]])
        response_tokens = choice.logprobs and list(
            zip(choice.logprobs.tokens, choice.logprobs.token_logprobs, choice.logprobs.text_offset, strict=True)
        )
        assert response_tokens == tokens.get(choice.index)


def test_the_logprobs_of_an_echoed_prompt_equal_those_of_its_generation(client, service):
    """The logprobs of a greedy answer equal those of the same text as a prompt."""
    written = create(client, logprobs=1)
    read = create(client, CAPITAL + written.choices[0].text, echo=True, logprobs=1, max_tokens=0)
    (choice,) = read.choices
    assert choice.text == CAPITAL + written.choices[0].text
    assert choice.finish_reason == "length"
    assert (read.usage.completion_tokens, choice.logprobs.token_logprobs[0]) == (0, None)
    size = len(written.choices[0].logprobs.tokens)
    assert choice.logprobs.tokens[-size:] == written.choices[0].logprobs.tokens
    assert choice.logprobs.token_logprobs[-size:] == pytest.approx(written.choices[0].logprobs.token_logprobs)
    for token, logprob, top in zip(*(getattr(choice.logprobs, name)[1:] for name in
                                     ("tokens", "token_logprobs", "top_logprobs")), strict=True):  # fmt: skip
        assert top[token] == logprob <= max(top.values())
    for token, offset in zip(choice.logprobs.tokens, choice.logprobs.text_offset, strict=True):
        assert choice.text[offset:].startswith(token)


def test_text_offsets_count_characters(client):
    (choice,) = create(client, "你好 🚚 ok", echo=True, logprobs=0, max_tokens=0).choices
    assert choice.logprobs.text_offset[-1] == len("你好 🚚")


def test_best_of_returns_the_choices_with_the_highest_mean_logprob(client):
    fields = {"temperature": 1.2, "seed": 5, "logprobs": 0, "extra_body": {"top_p": 1}}
    every = create(client, n=6, **fields)
    means = [sum(c.logprobs.token_logprobs) / len(c.logprobs.tokens) for c in every.choices]
    best = create(client, n=2, best_of=6, **fields)
    ranked = [choice.text for _, choice in sorted(zip(means, every.choices, strict=True), key=lambda pair: -pair[0])]
    assert [choice.text for choice in best.choices] == ranked[:2]
    assert best.usage.total_tokens == every.usage.total_tokens
    assert create(client, best_of=3, temperature=1).choices[0].logprobs is None


def test_best_of_works_with_chat_completions(client):
    fields = {"messages": [{"role": "user", "content": "Tell me a joke"}], "temperature": 1.0, "seed": 3}
    every = client.chat.completions.create(model="box", n=4, logprobs=True, **fields)
    means = [sum(e.logprob for e in c.logprobs.content) / len(c.logprobs.content) for c in every.choices]
    best = client.chat.completions.create(model="box", extra_body={"best_of": 4}, **fields)
    assert best.choices[0].message.content == every.choices[means.index(max(means))].message.content


def test_a_grammar_is_enforced(client):
    answer = create(client, extra_body={"guided_regex": " [A-Z]{3}[0-9]"}, temperature=2)
    assert answer.choices[0].text[1:4].isupper()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [[-1]]}, "prompt"),
        ({"prompt": [10**6]}, "prompt"),
        ({"prompt": ["a"] * 2049}, "prompt"),
        ({"prompt": ["a"] * 1025, "n": 2}, "n"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 3, "stream": True}, "best_of"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"extra_body": {"messages": []}}, "messages"),
        ({"extra_body": {"max_completion_tokens": 3}}, "max_completion_tokens"),
        ({"prompt": "a " * 1000, "max_tokens": 500}, "prompt"),
    ],
)
def test_an_invalid_field_is_rejected_with_its_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as error:
        create(client, **fields)
    assert error.value.body["param"] == param


def test_a_disconnect_cancels_all_prompts_of_a_stream(url, service):
    async def disconnect():
        async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as client:
            stream = await client.completions.create(
                model="box", prompt=["Once", "Hello", "A"], n=3, max_tokens=900, stream=True, temperature=1,
                extra_body={"ignore_eos": True},
            )  # fmt: skip
            async for _ in stream:
                break
            await stream.close()
        for _ in range(500):
            if service.engine.load == (0, 0):
                return True
            await asyncio.sleep(0.01)
        return False

    assert asyncio.run(disconnect())


@pytest.mark.parametrize("prompt", ["", None, [""]])
def test_an_absent_prompt_starts_a_new_document(url, service, prompt):
    eos = service.renderer.tokenizer.eos_token_id
    body = {"model": "box", "max_tokens": 8, "temperature": 0}
    texts = [
        httpx.post(f"{url}/completions", json={**body, **fields}).json()["choices"][0]["text"]
        for fields in ({"prompt": prompt}, {}, {"prompt": [eos]})
    ]
    assert texts[0] == texts[1] == texts[2]


def test_more_prompts_than_slots_are_answered_in_order(client):
    prompts = [f"{number} and" for number in range(70)]
    answer = client.completions.create(model="box", prompt=prompts, max_tokens=1, echo=True, temperature=0)
    assert [choice.text.startswith(prompt) for choice, prompt in zip(answer.choices, prompts, strict=True)]
    pieces = dict.fromkeys(range(70), "")
    for chunk in client.completions.create(
        model="box", prompt=prompts, max_tokens=1, echo=True, temperature=0, stream=True
    ):
        pieces[chunk.choices[0].index] += chunk.choices[0].text
    assert list(pieces.values()) == [choice.text for choice in answer.choices]


def test_a_top_p_of_zero_keeps_the_most_likely_token(client):
    greedy = create(client, temperature=0).choices[0].text
    assert create(client, temperature=2, top_p=0, seed=1).choices[0].text == greedy


def test_incomplete_characters_are_distinct_in_top_logprobs(client, service):
    """As keys they would all be the replacement character, and the value of the generated token would be lost."""
    answer = create(client, "你好 🚚", echo=True, logprobs=5, max_tokens=0).choices[0].logprobs
    assert any(token.startswith("bytes:\\x") for token in answer.tokens)
    for token, logprob, top in zip(answer.tokens[1:], answer.token_logprobs[1:], answer.top_logprobs[1:], strict=True):
        assert top[token] == logprob
        assert len(top) >= 5
        assert "\ufffd" not in "".join(top)
