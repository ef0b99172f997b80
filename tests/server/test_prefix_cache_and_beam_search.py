"""Prefix cache and beam search over HTTP: token counts, isolation of cache scopes, unchanged answers."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import serve_in_thread

QUESTION = [{"role": "user", "content": "I would like to know where my parcel is, it should have been here by now."}]
REQUEST = {"model": "box", "messages": QUESTION, "max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def service():
    with open_chat_service(max_num_seqs=8) as service:
        yield service


@pytest.fixture
def server(service, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.json")
    secrets = [keys.create(name, role="admin") for name in ("ann", "bob")]
    app = create_app({"box": service}, default="box", keys=keys)
    with serve_in_thread(app) as url:
        yield url, secrets


def client_for(server, number=0):
    url, secrets = server
    return openai.OpenAI(base_url=f"{url}/v1", api_key=secrets[number])


def cached_tokens(answer):
    return answer.usage.prompt_tokens_details.cached_tokens


def test_the_next_exchange_uses_the_prefix_cache_and_the_metrics_count_it(server):
    client, key = client_for(server), "the next exchange"
    first = client.chat.completions.create(**REQUEST, prompt_cache_key=key)
    reply = {"role": "assistant", "content": first.choices[0].message.content}
    messages = [*QUESTION, reply, {"role": "user", "content": "Thank you!"}]
    second = client.chat.completions.create(**REQUEST | {"messages": messages}, prompt_cache_key=key)
    assert cached_tokens(first) == 0
    full_blocks = (first.usage.total_tokens - 1) // 16 * 16
    assert full_blocks - 16 <= cached_tokens(second) <= full_blocks
    assert cached_tokens(second) > first.usage.prompt_tokens // 16 * 16 - 1
    scraped = httpx.get(f"{server[0]}/metrics", headers={"authorization": f"Bearer {server[1][0]}"}).text
    samples = {s.name: s.value for family in text_string_to_metric_families(scraped) for s in family.samples}
    assert samples["turnwise_cached_prompt_tokens_total"] == cached_tokens(second)
    assert samples["turnwise_prompt_tokens_total"] == first.usage.prompt_tokens + second.usage.prompt_tokens


def test_the_cache_and_streaming_do_not_change_an_answer(server):
    client = client_for(server)
    fields = REQUEST | {"temperature": 1, "seed": 3, "prompt_cache_key": "repeated"}
    fresh, repeated = (client.chat.completions.create(**fields) for _ in range(2))
    assert fresh.choices[0].message.content == repeated.choices[0].message.content
    assert cached_tokens(fresh) == 0 < cached_tokens(repeated)
    chunks = list(client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == fresh.choices[0].message.content
    assert cached_tokens(chunks[-1]) == cached_tokens(repeated)


@pytest.mark.costly
def test_thirty_one_concurrent_requests_do_not_change_an_answer(server):
    client = client_for(server)
    arguments = REQUEST | {"temperature": 1, "seed": 11, "max_tokens": 30}
    alone = client.chat.completions.create(**arguments, prompt_cache_key="alone")

    def send_request(number):
        messages = [{"role": "user", "content": f"Tell me something about the number {number}!"}]
        fields = {"messages": messages, "temperature": 1, "max_tokens": 5 + number, "stream": number % 2 == 0}
        answer = client.chat.completions.create(**REQUEST | fields)
        return list(answer) if number % 2 == 0 else answer

    with ThreadPoolExecutor(32) as pool:
        concurrent = [pool.submit(send_request, number) for number in range(31)]
        concurrent_response = pool.submit(client.chat.completions.create, **arguments, prompt_cache_key="amid").result()
        assert concurrent_response.choices[0].message.content == alone.choices[0].message.content
        assert cached_tokens(concurrent_response) == 0
        repeated = pool.submit(client.chat.completions.create, **arguments, prompt_cache_key="amid").result()
        assert repeated.choices[0].message.content == alone.choices[0].message.content
        assert cached_tokens(repeated) > 0
        for waiting in concurrent:
            waiting.result()


def test_cache_scopes_share_no_prefixes(server):
    ann, bob = client_for(server, 0), client_for(server, 1)
    ann.chat.completions.create(**REQUEST, prompt_cache_key="theirs")
    assert cached_tokens(bob.chat.completions.create(**REQUEST, prompt_cache_key="theirs")) == 0
    assert cached_tokens(ann.chat.completions.create(**REQUEST, prompt_cache_key="others")) == 0
    assert cached_tokens(ann.chat.completions.create(**REQUEST, prompt_cache_key="theirs")) > 0


def test_the_choices_of_a_request_share_one_prefill(server):
    answer = client_for(server).chat.completions.create(**REQUEST | {"temperature": 1}, n=4, prompt_cache_key="several")
    assert cached_tokens(answer) == 0
    assert answer.usage.prompt_tokens < 60


def search(server, **fields):
    extensions = {
        name: fields.pop(name) for name in list(fields) if name not in ("n", "stream", "stop", "logprobs", "max_tokens")
    }
    arguments = {name: value for name, value in REQUEST.items() if name not in ("temperature", *fields)}
    return client_for(server).chat.completions.create(**arguments, **fields, extra_body={"num_beams": 4, **extensions})


def texts(answer):
    return [choice.message.content for choice in answer.choices]


def test_beam_search_returns_the_best_choice_first_and_is_deterministic(server):
    one, three = search(server), search(server, n=3, logprobs=True, length_penalty=0)
    assert texts(search(server)) == texts(one)
    assert len(set(texts(three))) == 3
    sums = [sum(token.logprob for token in choice.logprobs.content) for choice in three.choices]
    assert sums == sorted(sums, reverse=True)


def test_a_beam_search_stream_has_the_same_content_as_the_response(server):
    response = search(server, n=2)
    pieces = ["", ""]
    chunks = list(search(server, n=2, stream=True))
    for chunk in chunks:
        pieces[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert pieces == texts(response)
    assert {chunk.choices[0].finish_reason for chunk in chunks} >= {choice.finish_reason for choice in response.choices}


def test_beam_search_ends_choices_at_stop_strings(server):
    (text,) = texts(search(server))
    word, blank, _ = text.partition(" ")
    assert blank
    stopped = search(server, n=2, stop=[" "])
    assert texts(stopped)[0] == word
    assert " " not in texts(stopped)[1]
    assert {choice.finish_reason for choice in stopped.choices} == {"stop"}
    assert stopped.usage.completion_tokens < 12


def test_beam_search_follows_a_grammar(server):
    response = search(server, n=2, guided_choice=["yes, at once", "no, never"], max_tokens=40)
    assert set(texts(response)) <= {"no, never", "yes, at once"}
    assert {choice.finish_reason for choice in response.choices} == {"stop"}


def test_an_echoed_answer_starts_with_the_continued_message(server):
    messages = [*QUESTION, {"role": "assistant", "content": "Your parcel"}]
    fields = REQUEST | {"messages": messages}
    extensions = {"continue_final_message": True}
    client = client_for(server)
    plain = client.chat.completions.create(**fields, extra_body=extensions)
    echoed = client.chat.completions.create(**fields, extra_body=extensions | {"echo": True})
    assert texts(echoed) == ["Your parcel" + texts(plain)[0]]
    stream = client.chat.completions.create(**fields, extra_body=extensions | {"echo": True}, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == texts(echoed)[0]


def test_unsupported_fields_of_a_search_are_rejected_without_affecting_others(server):
    client = client_for(server)
    for extensions in ({"penalty_alpha": 0.6, "top_k": 4}, {"penalty_alpha": 0.6, "top_k": 4, "best_of": 2}):
        with pytest.raises(openai.BadRequestError, match="penalty_alpha"):
            client.completions.create(
                model="box", prompt="a b", echo=True, logprobs=1, max_tokens=2, extra_body=extensions
            )
    with pytest.raises(openai.BadRequestError, match="returns one choice"):
        search(server, n=2, num_beams=1, penalty_alpha=0.6, top_k=4)
    read = client.completions.create(
        model="box", prompt="a b", echo=True, logprobs=1, max_tokens=0, n=2, extra_body={"num_beams": 2}
    )
    assert [choice.finish_reason for choice in read.choices] == ["length", "length"]
    assert read.choices[0].logprobs == read.choices[1].logprobs


def test_a_prediction_may_have_any_length(server):
    arguments = REQUEST | {"prediction": {"type": "content", "content": "word " * 200_000}}
    answer = client_for(server).chat.completions.create(**arguments, timeout=20)
    assert (
        answer.choices[0].message.content
        == client_for(server).chat.completions.create(**REQUEST).choices[0].message.content
    )
