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
ASKED = {"model": "box", "messages": QUESTION, "max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def service():
    with open_chat_service(max_num_seqs=8) as service:
        yield service


@pytest.fixture
def server(service, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.json")
    secrets = [keys.create(name) for name in ("ann", "bob")]
    app = create_app({"box": service}, default="box", keys=keys)
    with serve_in_thread(app) as url:
        yield url, secrets


def client_of(server, number=0):
    url, secrets = server
    return openai.OpenAI(base_url=f"{url}/v1", api_key=secrets[number])


def cached(answer):
    return answer.usage.prompt_tokens_details.cached_tokens


def test_the_next_exchange_uses_the_prefix_cache_and_the_metrics_count_it(server):
    client, key = client_of(server), "the next turn"
    first = client.chat.completions.create(**ASKED, prompt_cache_key=key)
    said = {"role": "assistant", "content": first.choices[0].message.content}
    talk = [*QUESTION, said, {"role": "user", "content": "Thank you!"}]
    second = client.chat.completions.create(**ASKED | {"messages": talk}, prompt_cache_key=key)
    assert cached(first) == 0
    whole = (first.usage.total_tokens - 1) // 16 * 16
    assert whole - 16 <= cached(second) <= whole
    assert cached(second) > first.usage.prompt_tokens // 16 * 16 - 1
    scraped = httpx.get(f"{server[0]}/metrics", headers={"authorization": f"Bearer {server[1][0]}"}).text
    samples = {s.name: s.value for family in text_string_to_metric_families(scraped) for s in family.samples}
    assert samples["turnwise_cached_prompt_tokens_total"] == cached(second)
    assert samples["turnwise_prompt_tokens_total"] == first.usage.prompt_tokens + second.usage.prompt_tokens


def test_the_cache_and_streaming_do_not_change_an_answer(server):
    client = client_of(server)
    fields = ASKED | {"temperature": 1, "seed": 3, "prompt_cache_key": "repeated"}
    fresh, again = (client.chat.completions.create(**fields) for _ in range(2))
    assert fresh.choices[0].message.content == again.choices[0].message.content
    assert cached(fresh) == 0 < cached(again)
    chunks = list(client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == fresh.choices[0].message.content
    assert cached(chunks[-1]) == cached(again)


def test_thirty_one_concurrent_requests_do_not_change_an_answer(server):
    client = client_of(server)
    asked = ASKED | {"temperature": 1, "seed": 11, "max_tokens": 30}
    alone = client.chat.completions.create(**asked, prompt_cache_key="alone")

    def other(number):
        messages = [{"role": "user", "content": f"Tell me something about the number {number}!"}]
        fields = {"messages": messages, "temperature": 1, "max_tokens": 5 + number, "stream": number % 2 == 0}
        answer = client.chat.completions.create(**ASKED | fields)
        return list(answer) if number % 2 == 0 else answer

    with ThreadPoolExecutor(32) as pool:
        others = [pool.submit(other, number) for number in range(31)]
        amid = pool.submit(client.chat.completions.create, **asked, prompt_cache_key="amid").result()
        assert amid.choices[0].message.content == alone.choices[0].message.content
        assert cached(amid) == 0
        again = pool.submit(client.chat.completions.create, **asked, prompt_cache_key="amid").result()
        assert again.choices[0].message.content == alone.choices[0].message.content
        assert cached(again) > 0
        for waiting in others:
            waiting.result()


def test_cache_scopes_share_no_prefixes(server):
    ann, bob = client_of(server, 0), client_of(server, 1)
    ann.chat.completions.create(**ASKED, prompt_cache_key="theirs")
    assert cached(bob.chat.completions.create(**ASKED, prompt_cache_key="theirs")) == 0
    assert cached(ann.chat.completions.create(**ASKED, prompt_cache_key="others")) == 0
    assert cached(ann.chat.completions.create(**ASKED, prompt_cache_key="theirs")) > 0


def test_the_choices_of_a_request_share_one_prefill(server):
    answer = client_of(server).chat.completions.create(**ASKED | {"temperature": 1}, n=4, prompt_cache_key="several")
    assert cached(answer) == 0
    assert answer.usage.prompt_tokens < 60


def search(server, **fields):
    ours = {
        name: fields.pop(name) for name in list(fields) if name not in ("n", "stream", "stop", "logprobs", "max_tokens")
    }
    asked = {name: value for name, value in ASKED.items() if name not in ("temperature", *fields)}
    return client_of(server).chat.completions.create(**asked, **fields, extra_body={"num_beams": 4, **ours})


def texts(answer):
    return [choice.message.content for choice in answer.choices]


def test_beam_search_returns_the_best_choice_first_and_is_deterministic(server):
    one, three = search(server), search(server, n=3, logprobs=True, length_penalty=0)
    assert texts(search(server)) == texts(one)
    assert len(set(texts(three))) == 3
    sums = [sum(token.logprob for token in choice.logprobs.content) for choice in three.choices]
    assert sums == sorted(sums, reverse=True)


def test_a_beam_search_stream_has_the_same_content_as_the_response(server):
    whole = search(server, n=2)
    pieces = ["", ""]
    chunks = list(search(server, n=2, stream=True))
    for chunk in chunks:
        pieces[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert pieces == texts(whole)
    assert {chunk.choices[0].finish_reason for chunk in chunks} >= {choice.finish_reason for choice in whole.choices}


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
    found = search(server, n=2, guided_choice=["yes, at once", "no, never"], max_tokens=40)
    assert set(texts(found)) <= {"no, never", "yes, at once"}
    assert {choice.finish_reason for choice in found.choices} == {"stop"}


def test_an_echoed_answer_starts_with_the_continued_message(server):
    talk = [*QUESTION, {"role": "assistant", "content": "Your parcel"}]
    fields = ASKED | {"messages": talk}
    ours = {"continue_final_message": True}
    client = client_of(server)
    plain = client.chat.completions.create(**fields, extra_body=ours)
    echoed = client.chat.completions.create(**fields, extra_body=ours | {"echo": True})
    assert texts(echoed) == ["Your parcel" + texts(plain)[0]]
    stream = client.chat.completions.create(**fields, extra_body=ours | {"echo": True}, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == texts(echoed)[0]


def test_unsupported_fields_of_a_search_are_rejected_without_affecting_others(server):
    client = client_of(server)
    for ours in ({"penalty_alpha": 0.6, "top_k": 4}, {"penalty_alpha": 0.6, "top_k": 4, "best_of": 2}):
        with pytest.raises(openai.BadRequestError, match="penalty_alpha"):
            client.completions.create(model="box", prompt="a b", echo=True, logprobs=1, max_tokens=2, extra_body=ours)
    with pytest.raises(openai.BadRequestError, match="returns one choice"):
        search(server, n=2, num_beams=1, penalty_alpha=0.6, top_k=4)
    read = client.completions.create(
        model="box", prompt="a b", echo=True, logprobs=1, max_tokens=0, n=2, extra_body={"num_beams": 2}
    )
    assert [choice.finish_reason for choice in read.choices] == ["length", "length"]
    assert read.choices[0].logprobs == read.choices[1].logprobs


def test_a_prediction_may_have_any_length(server):
    asked = ASKED | {"prediction": {"type": "content", "content": "word " * 200_000}}
    answer = client_of(server).chat.completions.create(**asked, timeout=20)
    assert (
        answer.choices[0].message.content
        == client_of(server).chat.completions.create(**ASKED).choices[0].message.content
    )
