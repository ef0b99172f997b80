"""Prompt logprobs and embeddings, with both runners, alone and beside other requests."""

from dataclasses import replace

import pytest
import reference
import torch
from reference import GREEDY, greedy, make_decoder

from turnwise.core.inference import GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.engine.scheduling import batch_builder as plan_file

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")

PROMPT = [7, 30, 2, 2, 51, 9, 9, 14, 3, 60, 1, 22, 5]


@pytest.fixture
def run_requests(monkeypatch):
    """`run_requests(*requests)` returns their recorders; prompts are prefilled in chunks of five tokens."""
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS", 5)
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS_WITH_DECODE", 3)
    model = make_decoder()

    def run_requests(*requests, max_num_seqs=3):
        return reference.run_requests(model, *requests, max_num_seqs=max_num_seqs)

    run_requests.model = model
    return run_requests


def prompt_request(prompt_output, max_tokens=0, top_logprobs=0, prompt=PROMPT):
    params = GenerationParams(temperature=0, logprobs=True, top_logprobs=top_logprobs)
    return GenerationRequest(tuple(prompt), params, max_tokens, frozenset(), prompt_output=prompt_output)


def full_forward(model, ids=PROMPT):
    """Hidden states and log-probabilities from one forward pass over all tokens."""
    with torch.inference_mode():
        hidden_TC = model(torch.tensor([ids]))[0]
        return hidden_TC, model.logits(hidden_TC).double().log_softmax(dim=1)


def test_every_prompt_token_except_the_first_has_a_logprob(run_requests):
    (results,) = run_requests(prompt_request("logprobs", top_logprobs=3))
    (event,) = results.events
    assert event.finish_reason == "length"
    _, logprobs_TV = full_forward(run_requests.model)
    assert len(event.prompt_logprobs) == len(PROMPT) - 1
    for position, report in enumerate(event.prompt_logprobs):
        assert report.logprob == pytest.approx(float(logprobs_TV[position, PROMPT[position + 1]]), abs=1e-4)
        values, ids = logprobs_TV[position].topk(3)
        assert [id for id, _ in report.top_logprobs] == ids.tolist()
        assert [value for _, value in report.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)


@pytest.mark.parametrize("start", [0, 1, 2, 5, 9, len(PROMPT) - 1])
def test_prompt_logprobs_may_start_after_a_cached_prefix(run_requests, start):
    """The prefix before the start comes from the cache; the later logprobs are the same."""
    long = [*range(40), *PROMPT]
    (alone,) = run_requests(prompt_request("logprobs", prompt=long))
    reports = alone.events[0].prompt_logprobs
    first, again = run_requests(
        *(replace(prompt_request("logprobs", prompt=long), prompt_logprobs_start=40 + start) for _ in range(2)),
        max_num_seqs=1,
    )
    expected = [report.logprob for report in reports[40 + start - 1 :]]
    for results in (first, again):
        assert [report.logprob for report in results.events[0].prompt_logprobs] == pytest.approx(expected, abs=1e-4)
    assert again.events[0].stats.cached_tokens == 40 + start - 1


def test_scored_candidates_share_their_common_prefix(run_requests):
    conversation = list(range(48))
    requests = [
        replace(prompt_request("logprobs", prompt=[*conversation, 5 + n, n]), prompt_logprobs_start=48)
        for n in range(6)
    ]
    results = run_requests(*requests, max_num_seqs=6)
    assert all(result.events[0].stats.cached_tokens >= 32 for result in results[1:])
    for request, result in zip(requests, results, strict=True):
        _, logprobs_TV = full_forward(run_requests.model, list(request.prompt_ids))
        actual = [report.logprob for report in result.events[0].prompt_logprobs]
        expected = [float(logprobs_TV[47 + offset, id]) for offset, id in enumerate(request.prompt_ids[48:])]
        assert actual == pytest.approx(expected, abs=1e-4)


def test_prompt_logprobs_do_not_change_the_answer(run_requests):
    (results,) = run_requests(prompt_request("logprobs", max_tokens=6))
    assert results.events[0].prompt_logprobs
    assert results.events[0].finish_reason is None
    assert (results.tokens, results.finish) == greedy(run_requests.model, PROMPT, 6)


def test_an_embedding_is_the_normalised_last_hidden_state(run_requests):
    (results,) = run_requests(prompt_request("embedding"))
    (event,) = results.events
    assert event.finish_reason == "stop"
    hidden_TC, _ = full_forward(run_requests.model)
    expected = torch.nn.functional.normalize(hidden_TC[-1].double(), dim=0)
    torch.testing.assert_close(torch.tensor(event.embedding, dtype=torch.float64), expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_of_one_token_is_scored_and_embedded(run_requests):
    scored, embedded = run_requests(prompt_request("logprobs", prompt=[4]), prompt_request("embedding", prompt=[4]))
    assert scored.events[0].prompt_logprobs == ()
    assert sum(value**2 for value in embedded.events[0].embedding) == pytest.approx(1)


def test_scoring_embedding_and_generating_requests_do_not_affect_each_other(run_requests):
    conversation = GenerationRequest(tuple(PROMPT[::-1]), GREEDY, 9, frozenset())
    results = run_requests(
        conversation,
        prompt_request("embedding"),
        conversation,
        prompt_request("logprobs", max_tokens=4),
        prompt_request("logprobs"),
        conversation,
        max_num_seqs=2,
    )
    for result in (results[0], results[2], results[5]):
        assert (result.tokens, result.finish) == greedy(run_requests.model, PROMPT[::-1], 9)
    (alone,) = run_requests(prompt_request("embedding"))
    assert results[1].events[0].embedding == pytest.approx(alone.events[0].embedding, abs=1e-6)
    assert results[3].tokens == greedy(run_requests.model, PROMPT, 4)[0]
