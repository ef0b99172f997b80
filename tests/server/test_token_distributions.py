"""`/v1/next_token`, `/v1/answer_tokens`, `answer_tokens` and `beam_tree`, with a real model."""

import asyncio
import json
import math

import httpx
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.chat.answer_start import num_incomplete_ids
from turnwise.chat.beam_decoding import decode_beams
from turnwise.chat.search_checks import check_tree_size
from turnwise.chat.token_inspector import RendererTokenInspector
from turnwise.core.chat_request import ChatRequest, OutputOptions
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.served_versions import AnsweringVersion
from turnwise.server.app import create_app
from turnwise.server.schema.answer_tokens_request import AnswerTokensRequest
from turnwise.server.schema.beam_fields import BeamsBody
from turnwise.server.schema.distribution_bodies import AnswerTokenBody, ScoringModel
from turnwise.server.schema.next_token_request import NEXT_TOKEN_UNSUPPORTED_FIELDS, NextTokenRequest
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
REQUEST = {"model": "box", "messages": MESSAGES}
PLAIN = {
    "temperature": 1,
    "top_p": 1,
    "min_p": 0,
    "top_k": 0,
    "repetition_penalty": 1,
}  # instead of the model's defaults


@pytest.fixture(scope="module")
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def service(store):
    with open_chat_service(store=store, max_num_seqs=8) as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    with serve_in_thread(create_app({"box": service}, default="box")) as url, httpx.Client(base_url=url) as client:
        yield client


def post(client, path, **fields):
    response = client.post(path, json=REQUEST | fields)
    assert response.status_code == 200, response.text
    return response.json()


def next_token(client, **fields):
    return post(client, "/v1/next_token", **fields)


def answer_tokens(client, **fields):
    return post(client, "/v1/answer_tokens", **fields)


def complete(client, **fields):
    return post(client, "/v1/chat/completions", **fields)


def rejection(client, path, **fields):
    response = client.post(path, json=REQUEST | fields)
    assert response.status_code == 400, response.text
    return response.json()["error"]


def watch(function, in_event_loop):
    """The function, which appends whether it runs in the thread of the event loop."""

    def watched(*arguments):
        try:
            in_event_loop.append(asyncio.get_running_loop() is not None)
        except RuntimeError:
            in_event_loop.append(False)
        return function(*arguments)

    return watched


# The distribution of the next token


def test_the_distribution_is_that_of_the_completion_with_the_same_fields(client):
    choice = complete(client, max_tokens=1, logprobs=True, top_logprobs=10, temperature=0)["choices"][0]
    expected = choice["logprobs"]["content"][0]["top_logprobs"]
    tokens = next_token(client, top=10)["tokens"]
    assert [token["token"] for token in tokens] == [entry["token"] for entry in expected]
    assert [token["logprob"] for token in tokens] == pytest.approx([entry["logprob"] for entry in expected], abs=1e-5)
    assert [token["rank"] for token in tokens] == list(range(1, 11))


def test_each_stage_has_its_probabilities_and_removed_tokens_a_reason(client):
    fields = {"temperature": 0.7, "top_k": 5, "min_p": 0.2, "repetition_penalty": 1.3}
    distribution = next_token(client, **PLAIN | fields)
    stages = distribution["stages"]
    assert [stage["name"] for stage in stages] == ["repetition_penalty", "temperature", "top_k", "min_p"]
    assert [stage["value"] for stage in stages] == [1.3, 0.7, 5, 0.2]
    for index, stage in enumerate(stages):
        total = sum(token["probabilities"][index] for token in distribution["tokens"])
        assert total + stage["rest"] == pytest.approx(1)
    assert sum(token["probability"] for token in distribution["tokens"]) + distribution["rest"] == pytest.approx(1)
    kept = [token for token in distribution["tokens"] if token["removed_by"] is None]
    assert len(kept) == stages[-1]["num_kept"] <= 5
    reasons = {token["removed_by"]: token["reason"] for token in distribution["tokens"]}
    assert reasons["top_k"] == "It is not among the 5 most likely tokens."


def test_a_grammar_and_bad_words_are_stages(client):
    distribution = next_token(client, **PLAIN, guided_choice=["yes", "no"], bad_words=["no"], top=5, token_ids=[300])
    assert [stage["name"] for stage in distribution["stages"]] == ["grammar", "bad_words"]
    kept = {token["token"] for token in distribution["tokens"] if token["removed_by"] is None}
    assert kept
    assert kept <= {"y", "ye", "yes", "n"}  # "n" alone is no bad word yet
    assert 300 in [token["id"] for token in distribution["tokens"]]


def test_the_text_of_the_last_message_or_its_tokens_may_be_continued(client):
    answer = answer_tokens(client, answer="Your parcel is")
    ids = [token["id"] for token in answer["tokens"]]
    by_tokens = next_token(client, answer_tokens=ids)
    messages = [*MESSAGES, {"role": "assistant", "content": "Your parcel is"}]
    by_text = next_token(client, messages=messages, continue_final_message=True)
    assert [token["id"] for token in by_tokens["tokens"]] == [token["id"] for token in by_text["tokens"]]
    assert by_tokens["usage"]["prompt_tokens"] == by_text["usage"]["prompt_tokens"]


def test_penalties_count_the_tokens_of_the_answer_only(client):
    ids = [token["id"] for token in answer_tokens(client, answer="parcel parcel parcel")["tokens"]]
    plain, penalized = (
        next_token(client, answer_tokens=ids, token_ids=ids[-1:], **PLAIN, **more)
        for more in ({}, {"frequency_penalty": 2})
    )
    repeated = next(token for token in penalized["tokens"] if token["id"] == ids[-1])
    assert repeated["probabilities"][0] < repeated["probability"]
    assert plain["stages"] == []


def test_tokens_that_end_the_answer_are_marked(client):
    best, second = next_token(client)["tokens"][:2]
    assert not best["ends_answer"]
    tokens = next_token(client, stop_token_ids=[best["id"]])["tokens"]
    marks = {token["id"]: token["ends_answer"] for token in tokens}
    assert (marks[best["id"]], marks[second["id"]]) == (True, False)


def test_a_second_look_at_an_answer_uses_the_prefix_cache(client):
    fields = {"prompt_cache_key": "second look", "answer_tokens": list(range(300, 340))}
    assert next_token(client, **fields)["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    usage = next_token(client, **fields)["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= usage["prompt_tokens"] - 17
    assert usage["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *(({name: "x" if name in ("conversation_id", "scenario", "safety_identifier", "stop") else [1, "a"]}, name)
          for name in NEXT_TOKEN_UNSUPPORTED_FIELDS),
        ({"top": 0}, "top"),
        ({"top": 51}, "top"),
        ({"top": "3"}, "top"),
        ({"token_ids": [-1]}, "token_ids"),
        ({"token_ids": [10**9]}, "token_ids"),
        ({"token_ids": [1] * 51}, "token_ids"),
        ({"answer_tokens": "ab"}, "answer_tokens"),
        ({"answer_tokens": [True]}, "answer_tokens"),
        ({"answer_tokens": [10**9]}, "answer_tokens"),
        ({"answer_tokens": [0]}, "answer_tokens"),
        ({"answer_tokens": [300], "tools": [{"type": "function", "function": {"name": "f"}}]}, "answer_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"nonsense": 1}, "nonsense"),
    ],
)  # fmt: skip
def test_a_field_that_has_no_effect_or_an_invalid_value_is_rejected(client, fields, param):
    assert rejection(client, "/v1/next_token", **fields)["param"] == param


def test_every_field_of_a_chat_completion_is_supported_or_rejected():
    from turnwise.server.schema.chat_completion_request import ChatCompletionRequest

    assert set(ChatCompletionRequest.model_fields) | {"top", "token_ids"} == set(NextTokenRequest.model_fields)


# The tokens of an answer


def test_the_tokens_of_an_answer_have_the_logprobs_of_its_generation(client):
    choice = complete(client, temperature=0, max_tokens=12, logprobs=True, top_logprobs=3)["choices"][0]
    generated = choice["logprobs"]["content"]
    scored = answer_tokens(client, answer=choice["message"]["content"], top_logprobs=3)
    assert [token["token"] for token in scored["tokens"]] == [entry["token"] for entry in generated]
    for token, entry in zip(scored["tokens"], generated, strict=True):
        assert token["logprob"] == pytest.approx(entry["logprob"], abs=1e-4)
        assert [top["token"] for top in token["top_logprobs"]] == [top["token"] for top in entry["top_logprobs"]]
    assert scored["is_encoded_again"]
    assert not answer_tokens(client, answer_tokens=[token["id"] for token in scored["tokens"]])["is_encoded_again"]
    assert scored["version"] is None


@pytest.mark.parametrize("answer", ["é 你好 🚚 …", "<|user|> is text", "a\n\n```x```", " "])
def test_the_bytes_of_the_tokens_are_those_of_the_text(client, answer):
    tokens = answer_tokens(client, answer=answer)["tokens"]
    assert b"".join(bytes(token["bytes"]) for token in tokens).decode() == answer


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "answer"),
        ({"answer": "a", "answer_tokens": [300]}, "answer"),
        ({"answer": ""}, "answer"),
        ({"answer": 3}, "answer"),
        ({"answer": "word " * 50_000}, "answer"),
        ({"answer": "a", "top_logprobs": 21}, "top_logprobs"),
        ({"answer": "a", "temperature": 1}, "temperature"),
        ({"answer": "a", "messages": []}, "messages"),
    ],
)
def test_an_invalid_request_for_tokens_is_rejected_with_the_name_of_the_field(client, fields, param):
    assert rejection(client, "/v1/answer_tokens", **fields)["param"] == param
    assert set(fields) <= set(AnswerTokensRequest.model_fields) | {"temperature"}


def test_a_model_with_versions_names_the_one_that_scored(service):
    fields = ScoringModel.fields_of(service, AnsweringVersion("shop@2", "digest"))
    assert (fields["version"], fields["weights"]) == ("shop@2", "digest")
    assert ScoringModel.fields_of(service, None) == {"model": service.name, "system_fingerprint": service.fingerprint}


# Continuing from given tokens


def test_an_answer_continues_after_its_first_tokens_as_it_was_generated(client):
    whole = complete(client, temperature=0, max_tokens=14)["choices"][0]["message"]["content"]
    ids = [token["id"] for token in answer_tokens(client, answer=whole)["tokens"]]
    for count in (1, 5):
        rest = complete(client, temperature=0, max_tokens=14 - count, answer_tokens=ids[:count], echo=True)
        assert rest["choices"][0]["message"]["content"] == whole


def test_another_token_is_a_branch_beside_the_answer(client, store, service):
    conversation = client.post("/v1/conversations", json={"title": "Steered", "model": "box"}).json()["id"]
    complete(client, temperature=0, max_tokens=10, conversation_id=conversation)
    ids = [token["id"] for token in answer_tokens(client, answer="My other answer")["tokens"]]
    rest = complete(client, temperature=0, max_tokens=5, conversation_id=conversation, answer_tokens=ids)
    stored = store.get(conversation).messages
    text = rest["choices"][0]["message"]["content"]
    assert stored[-1].message == Message("assistant", "My other answer" + text)
    assert len(stored) == 2
    assert stored[-1].meta["usage"]["prompt_tokens"] == rest["usage"]["prompt_tokens"]
    assert stored[-1].meta["sampling"] == {"temperature": 0.0, "max_tokens": 5}


def test_a_character_whose_bytes_are_several_tokens_is_completed(client):
    tokens = answer_tokens(client, answer="🚚 ok")["tokens"]
    assert len(tokens[0]["bytes"]) < 4  # otherwise this model needs another character
    first = [tokens[0]["id"]]
    forced = complete(client, answer_tokens=first, echo=True, max_tokens=4, temperature=0, guided_choice=["🚚"])
    assert forced["choices"][0]["message"]["content"] == "🚚"


@pytest.mark.parametrize("text", ["🚚" * 30, "Order 12 " * 30, "é🚚", "\ufffd" * 9])
def test_an_incomplete_character_is_found_in_the_last_tokens(service, text):
    tokenizer = service.renderer.tokenizer
    ids = tokenizer.encode(text)

    class Watched:
        max_length = 0

        def decode(self, ids):
            self.max_length = max(self.max_length, len(ids))
            return tokenizer.decode(ids)

    for length in range(len(ids) + 1):
        start = ids[:length]
        counts = (count for count in range(min(3, length) + 1))
        complete_counts = (
            count for count in counts if not tokenizer.decode(start[: length - count]).endswith("\ufffd")
        )
        watched = Watched()
        assert num_incomplete_ids(watched, start) == next(complete_counts, 0)
        assert watched.max_length <= 7


def test_given_tokens_longer_than_the_context_are_not_decoded(client, service, monkeypatch):
    def fail(*arguments):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(RendererTokenInspector, "answer_text", fail)
    for path in ("/v1/chat/completions", "/v1/next_token", "/v1/answer_tokens"):
        error = rejection(client, path, answer_tokens=[100] * (service.context_length + 1))
        assert (error["code"], error["param"]) == ("context_length_exceeded", "answer_tokens")


def test_the_tokens_of_an_answer_are_encoded_outside_of_the_event_loop(client, monkeypatch):
    in_event_loop = []
    monkeypatch.setattr(AnswerTokenBody, "of", watch(AnswerTokenBody.of, in_event_loop))
    tokens = answer_tokens(client, answer="Hello", top_logprobs=2)["tokens"]
    assert in_event_loop == [False] * len(tokens)


# The tree of a beam search


def test_the_tree_of_a_beam_search_ends_in_the_choices(client):
    fields = {"num_beams": 4, "n": 3, "max_tokens": 8, "beam_tree": True}
    answer = complete(client, **fields, logprobs=True)
    beams = answer["beams"]
    for choice, node in zip(answer["choices"], beams["answers"], strict=True):
        path = []
        while node is not None:
            path.append(beams["nodes"][node])
            node = beams["nodes"][node].get("parent")
        scores = [entry["logprob"] for entry in choice["logprobs"]["content"]]
        assert [step["logprob"] for step in reversed(path)][: len(scores)] == pytest.approx(scores, abs=1e-4)
        text = "".join(step["token"] for step in reversed(path) if not step["token"].startswith("<|"))
        assert text.strip() == choice["message"]["content"].strip()
    for step in range(1, 9):
        kept = [node for node in beams["nodes"] if node["step"] == step and not node["is_finished"]]
        assert len(kept) <= 4


def test_the_last_chunk_of_a_stream_has_the_tree(client):
    body = REQUEST | {"num_beams": 3, "max_tokens": 6, "beam_tree": True, "stream": True}
    lines = client.post("/v1/chat/completions", json=body).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert [bool(chunk.get("beams")) for chunk in chunks][-1]
    assert chunks[-1]["beams"] == complete(client, num_beams=3, max_tokens=6, beam_tree=True)["beams"]


def test_a_tree_needs_a_beam_search(client):
    assert rejection(client, "/v1/chat/completions", beam_tree=True)["param"] == "beam_tree"
    assert "beams" not in complete(client, num_beams=2, max_tokens=3)


def test_a_tree_has_at_most_20000_hypotheses(client, monkeypatch):
    request = ChatRequest(output=OutputOptions(trace_search=True))
    check_tree_size(request, 16, 1250)
    with pytest.raises(InvalidParameter, match=r"limited to 20,000 hypotheses.*'max_tokens' to 1,250 or less"):
        check_tree_size(request, 16, 1251)
    check_tree_size(ChatRequest(), 16, 1251)
    monkeypatch.setattr("turnwise.chat.search_checks.MAX_TREE_NODES", 20)
    for fields in ({"max_tokens": 6}, {}):
        error = rejection(client, "/v1/chat/completions", num_beams=4, beam_tree=True, **fields)
        assert (error["param"], "'max_tokens' to 5 or less" in error["message"]) == ("beam_tree", True)
    assert complete(client, num_beams=4, beam_tree=True, max_tokens=5)["beams"]["nodes"]


@pytest.mark.parametrize("options", [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}])
def test_a_tree_is_decoded_and_encoded_outside_of_the_event_loop(client, monkeypatch, options):
    in_event_loop = []

    def convert(beams, of=BeamsBody.of):
        return None if beams is None else watch(of, in_event_loop)(beams)

    monkeypatch.setattr("turnwise.chat.service.decode_beams", watch(decode_beams, in_event_loop))
    monkeypatch.setattr(BeamsBody, "of", convert)
    answer = client.post(
        "/v1/chat/completions", json=REQUEST | {"num_beams": 2, "max_tokens": 2, "beam_tree": True, **options}
    )
    assert '"beams":' in answer.text
    assert in_event_loop == [False, False]


# Other services


def test_a_service_without_a_distribution_says_so():
    app = create_app({"scripted": ScriptedChatService()}, default="scripted")
    with serve_in_thread(app) as url:
        for path, fields in (("next_token", {}), ("answer_tokens", {"answer_tokens": [1]})):
            response = httpx.post(f"{url}/v1/{path}", json={"model": "scripted", "messages": MESSAGES, **fields})
            assert response.status_code == 400
            assert "without choosing tokens" in response.json()["error"]["message"]


def test_log_probabilities_are_finite_numbers_in_json(client):
    tokens = next_token(client, logit_bias={"300": -100}, token_ids=[300], top_k=1)["tokens"]
    assert all(math.isfinite(token["logprob"]) for token in tokens)
