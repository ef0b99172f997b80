"""Requests of evaluation harnesses to `/v1/completions`, and what they read in the responses.

The requests are those of lm-evaluation-harness 0.4.13 (`local-completions`, `local-chat-completions`). It scores a text
with `echo` and one more token, and drops the last position, which is that token.
"""

import httpx
import pytest
import torch

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_names import resolve_model_folder
from turnwise.models.checkpoint import load
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

QUESTION = [
    3,
    479,
    306,
    272,
    903,
    316,
    1124,
    525,
    36,
    1,
    4,
]  # the capital of France, in the chat template of the bundled model
HELLO = [3, 800, 1, 4]
ENDED = [56, 74, 670, 316, 568, 19]  # "Seven of them.", after which the model ends its turn
PROMPTS = [[*QUESTION, 50, 383, 87, 331], [*QUESTION, 49, 3638], [*HELLO, *ENDED]]
CONTEXTS = [len(QUESTION), len(QUESTION), len(HELLO)]


@pytest.fixture(scope="module")
def post():
    with open_chat_service() as service, serve_in_thread(create_app({"box": service}, default="box")) as url:

        def send(path, **fields):
            answer = httpx.post(f"{url}/v1/{path}", json={"model": "box", **fields}, timeout=60)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield send


@pytest.fixture(scope="module")
def logprobs():
    """Return logprobs and greedy flags of all tokens but the first, from one forward pass."""
    decoder = load(resolve_model_folder(None), dtype=torch.float32).decoder

    def compute(ids):
        with torch.no_grad():
            logprobs_TV = decoder.logits(decoder(torch.tensor([ids])))[0].log_softmax(-1)
        return [(logprobs_TV[at, id].item(), logprobs_TV[at].argmax() == id) for at, id in enumerate(ids[1:])]

    return compute


def scoring_fields(prompt):
    return {"prompt": prompt, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}


def read_scores(answer, contexts):
    """Return what the harness computes from a response."""
    scores = []
    for choice, context in zip(sorted(answer["choices"], key=lambda choice: choice["index"]), contexts, strict=True):
        token_logprobs = choice["logprobs"]["token_logprobs"][context:-1]
        tops = choice["logprobs"]["top_logprobs"][context:-1]
        greedy = all(logprob == max(top.values()) for logprob, top in zip(token_logprobs, tops, strict=True))
        scores.append((sum(token_logprobs), greedy))
    return scores


def expected(logprobs, prompt, context):
    token_logprobs = logprobs(prompt)[context - 1 :]
    return pytest.approx(sum(value for value, _ in token_logprobs), abs=1e-3), all(best for _, best in token_logprobs)


@pytest.mark.parametrize("together", [False, True])
def test_token_ids_are_scored_past_an_end_token(post, logprobs, together):
    if together:
        scores = read_scores(post("completions", **scoring_fields(PROMPTS)), CONTEXTS)
    else:
        pairs = zip(PROMPTS, CONTEXTS, strict=True)
        scores = [
            score
            for ids, context in pairs
            for score in read_scores(post("completions", **scoring_fields([ids])), [context])
        ]
    assert scores == [expected(logprobs, ids, context) for ids, context in zip(PROMPTS, CONTEXTS, strict=True)]


def test_every_prompt_token_and_generated_token_has_a_position(post):
    for prompt, choice in zip(PROMPTS, post("completions", **scoring_fields(PROMPTS))["choices"], strict=True):
        assert {len(entries) for entries in choice["logprobs"].values()} == {len(prompt) + 1}
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"]["tokens"][-1] == "<|end|>"
    assert choice["text"].endswith("Seven of them.")  # without the end token


def test_strings_are_scored(post, logprobs):
    (choice,) = (answer := post("completions", **scoring_fields("What is the capital of France?Paris")))["choices"]
    ids = [479, 306, 272, 903, 316, 1124, 525, 36, 53, 295, 278]
    assert len(choice["logprobs"]["tokens"]) == len(ids) + 1
    assert read_scores(answer, [8]) == [expected(logprobs, ids, 8)]


@pytest.mark.parametrize("prompt", [[HELLO, QUESTION], "Hello", ["Hello", "What is your name?"]])
def test_choices_are_in_order_and_end_at_a_stop_string(post, prompt):
    fields = {"max_tokens": 32, "temperature": 0.0, "stop": ["\n", "<|end|>"], "seed": 1234}
    choices = post("completions", prompt=prompt, **fields)["choices"]
    assert [choice["index"] for choice in choices] == list(range(1 if isinstance(prompt, str) else 2))
    assert all(isinstance(choice["text"], str) and "\n" not in choice["text"] for choice in choices)


@pytest.mark.parametrize("stop", [["\n"], []])
def test_chat_requests_are_answered(post, stop):
    messages = [{"role": "user", "content": "Hello! How are you?"}]
    fields = {"max_tokens": 32, "temperature": 0.0, "stop": stop, "seed": 1234}
    (choice,) = post("chat/completions", messages=messages, **fields)["choices"]
    assert choice["index"] == 0
    assert choice["message"]["content"]
