"""Prometheus metrics and their labels."""

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from turnwise.core.chat_response import ContextReport, ConversationSummary, Usage
from turnwise.core.errors import InvalidData
from turnwise.server.app import create_app
from turnwise.server.middleware.concurrency_limit import ServerLimits
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

HELLO = [{"role": "user", "content": "Hello you there"}]
BODY = {"model": "latest", "messages": HELLO}


def endless(chat_request):
    while True:
        yield "word "


@pytest.fixture
def chat():
    return ScriptedChatService()


@pytest.fixture
def url(chat):
    with serve_in_thread(
        create_app({"scripted": chat}, default="scripted", limits=ServerLimits(max_num_seqs=1))
    ) as address:
        yield address


def scrape(url, **settings):
    """Return all samples by name and labels."""
    answer = httpx.get(f"{url}/metrics", **settings)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def sample_value(samples, name, **labels):
    return samples.get((f"turnwise_{name}", *sorted(labels.items())), 0)


def test_a_summary_counts_as_tokens_but_not_in_the_time_per_token(url, chat):
    """The time per output token excludes the summary, which is generated before the first token of the answer."""
    summary = ConversationSummary("Lamps.", 3, Usage(90, 1000))
    chat._context, chat._delay = ContextReport("summarise", 4, summary), 0.05
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        client.chat.completions.create(**BODY)
    seen = scrape(url)
    assert sample_value(seen, "prompt_tokens_total", model="scripted") == 93
    assert sample_value(seen, "completion_tokens_total", model="scripted") == 1004
    assert sample_value(seen, "output_token_seconds_sum", model="scripted") > 0.02


def test_completions_tokens_and_times_are_labelled_by_model(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        client.chat.completions.create(**BODY)
        list(client.chat.completions.create(**BODY, stream=True))
    seen = scrape(url)
    assert sample_value(seen, "completions_total", model="scripted", finish="stop") == 2
    assert sample_value(seen, "prompt_tokens_total", model="scripted") == 6
    assert sample_value(seen, "completion_tokens_total", model="scripted") == 8
    assert sample_value(seen, "completion_seconds_count", model="scripted") == 2
    assert sample_value(seen, "first_token_seconds_count", model="scripted") == 2
    assert sample_value(seen, "output_token_seconds_count", model="scripted") == 2
    assert (
        0
        < sample_value(seen, "first_token_seconds_sum", model="scripted")
        < sample_value(seen, "completion_seconds_sum", model="scripted")
    )


@pytest.mark.costly
def test_requests_are_labelled_by_route_template(url):
    for path in ("/v1/conversations/a", "/v1/conversations/b", "/v1/models/x/y", "/secret/1", "/secret/2",
                 "/assets/chat.js", "/assets/none", "/docs", "/openapi.json"):  # fmt: skip
        httpx.get(url + path)
    httpx.request("BREW", f"{url}/v1/models")
    httpx.delete(f"{url}/v1/conversations/c", headers={"origin": "http://evil.example"})
    seen = scrape(url)
    counted = {
        (labels["method"], labels["route"], labels["status"]): value
        for (name, *pairs), value in seen.items()
        if name == "turnwise_requests_total" and (labels := dict(pairs))
    }
    assert counted == {
        ("GET", "/v1/conversations/{id}", "404"): 2,
        ("GET", "/v1/models/{name:path}", "404"): 1,
        ("GET", "unknown", "404"): 2,
        ("GET", "/assets", "200"): 1,
        ("GET", "/assets", "404"): 1,
        ("GET", "/docs", "200"): 1,
        ("GET", "/openapi.json", "200"): 1,
        ("other", "/v1/models", "405"): 1,
        ("DELETE", "/v1/conversations/{id}", "403"): 1,
    }
    assert sample_value(seen, "rejected_total", reason="origin_not_allowed") == 1


def test_unknown_model_names_are_not_used_as_labels(url):
    httpx.post(f"{url}/v1/chat/completions", json={**BODY, "model": "made-up"})
    assert "made-up" not in httpx.get(f"{url}/metrics").text


def test_running_waiting_and_cancelled_requests_are_counted(url, chat):
    chat._script, chat._delay = endless, 0.01
    streams = [httpx.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "stream": True}) for _ in range(3)]
    pieces = [stream.__enter__().iter_raw() for stream in streams]
    for piece in pieces:
        next(piece)
    seen = scrape(url)
    assert (sample_value(seen, "completions_running"), sample_value(seen, "completions_waiting")) == (1, 2)
    for stream in streams:
        stream.__exit__(None, None, None)
    for _ in range(500):
        seen = scrape(url)
        if sample_value(seen, "completions_total", model="scripted", finish="cancelled") == 3:
            break
    else:
        pytest.fail("the clients that left were not counted")
    assert (sample_value(seen, "completions_running"), sample_value(seen, "completions_waiting")) == (0, 0)


@pytest.mark.parametrize(
    ("failure", "finish"), [(RuntimeError("x"), "error"), (InvalidData("refused"), None)], ids=["broken", "refused"]
)
@pytest.mark.parametrize("stream", [True, False])
def test_failures_are_counted_as_errors_and_rejected_requests_not_as_completions(url, chat, failure, finish, stream):
    chat._fail_after, chat._failure = 0, failure
    httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": stream})
    seen = scrape(url)
    ended = {dict(pairs)["finish"] for (name, *pairs) in seen if name == "turnwise_completions_total"}
    assert ended == ({finish} if finish else set())


def test_a_timeout_is_counted_as_timeout(chat):
    chat._script, chat._delay = endless, 0.01
    with serve_in_thread(
        create_app({"scripted": chat}, default="scripted", limits=ServerLimits(request_timeout=0.1))
    ) as url:
        for stream in (True, False):
            httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": stream})
        seen = scrape(url)
    assert sample_value(seen, "completions_total", model="scripted", finish="timeout") == 2
    assert sample_value(seen, "rejected_total", reason="timeout") == 2


def test_rejections_are_counted_by_reason(chat, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    key = {"Authorization": f"Bearer {keys.create('me', role='admin')}"}
    app = create_app({"scripted": chat}, default="scripted", keys=keys, body_limit=100)
    with serve_in_thread(app) as url:
        httpx.get(f"{url}/v1/models")
        httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer wrong"})
        httpx.post(f"{url}/v1/chat/completions", json={**BODY, "user": "u" * 200}, headers=key)
        seen = scrape(url, headers=key)
    assert sample_value(seen, "rejected_total", reason="invalid_api_key") == 2
    assert sample_value(seen, "rejected_total", reason="body_too_large") == 1
    assert ("turnwise_rejected_total", ("reason", "server_busy")) in seen, "a series is there before its first increase"


@pytest.mark.costly
def test_two_applications_have_separate_metrics():
    with (
        serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as one,
        serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as two,
    ):
        httpx.get(f"{one}/health")
        assert sample_value(scrape(one), "requests_total", method="GET", route="/health", status="200") == 1
        assert sample_value(scrape(two), "requests_total", method="GET", route="/health", status="200") == 0
