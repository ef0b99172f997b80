"""Contrastive search: every token follows the formula, alone and beside other requests."""

import pytest
import torch
from reference import GREEDY, SchedulerHarness, greedy, make_decoder, prompts, request, run_requests

from turnwise.core.parameters import GenerationParams

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")


@torch.inference_mode()
def reference_search(model, prompt, max_tokens, k, alpha, stop=()):
    """Contrastive search with a forward pass over the full text for every candidate."""
    ids = list(prompt)
    while len(ids) - len(prompt) < max_tokens:
        hidden_TC = torch.nn.functional.normalize(model(torch.tensor([ids]))[0], dim=1)
        probabilities = model.logits(model(torch.tensor([ids]))[0, -1]).softmax(dim=0)
        scores = {}
        for token in probabilities.topk(k).indices.tolist():
            h_C = torch.nn.functional.normalize(model(torch.tensor([[*ids, token]]))[0, -1], dim=0)
            scores[token] = (1 - alpha) * float(probabilities[token]) - alpha * float((hidden_TC @ h_C).max())
        token = max(scores, key=scores.get)
        if token in stop:
            return ids[len(prompt) :], "stop"
        ids.append(token)
    return ids[len(prompt) :], "length"


@pytest.fixture(scope="module")
def model():
    return make_decoder(initializer_range=0.2)


def contrastive_request(prompt, k=4, alpha=0.6, max_tokens=12, **more):
    return request(prompt, params=GenerationParams(top_k=k, penalty_alpha=alpha), max_tokens=max_tokens, **more)


@pytest.mark.costly
@pytest.mark.parametrize(("k", "alpha"), [(4, 0.6), (2, 0.3), (9, 0.9)])
def test_every_token_maximises_the_contrastive_score(model, k, alpha):
    for prompt in prompts([1, 7, 33]):
        (result,) = run_requests(model, contrastive_request(prompt, k, alpha), max_num_seqs=12, num_blocks=80)
        assert (result.tokens, result.finish) == reference_search(model, prompt, 12, k, alpha)


def test_contrastive_search_ends_at_stop_ids(model):
    (prompt,) = prompts([7])
    output_ids, _ = reference_search(model, prompt, 12, 4, 0.6)
    (result,) = run_requests(model, contrastive_request(prompt, stop=[output_ids[5]]), max_num_seqs=12, num_blocks=80)
    assert (result.tokens, result.finish) == reference_search(model, prompt, 12, 4, 0.6, [output_ids[5]])


@pytest.mark.costly
@pytest.mark.parametrize("blocks", [12, 16, 80])
def test_contrastive_search_gives_the_same_answer_beside_other_requests_and_with_preemption(model, blocks):
    searched_request = contrastive_request(prompts([40])[0], max_tokens=30)
    (alone,) = run_requests(model, searched_request, num_blocks=80)
    harness = SchedulerHarness(model, max_num_seqs=12, num_blocks=blocks)
    neighbours = [harness.submit(request([5, number], max_tokens=40)) for number in range(3)]
    group = harness.submit(searched_request)
    again = harness.submit(searched_request)
    harness.finish()
    assert group.on_event.tokens == again.on_event.tokens == alone.tokens
    for number, neighbour in enumerate(neighbours):
        assert neighbour.on_event.tokens == greedy(model, [5, number], 40)[0]


def test_a_penalty_of_zero_is_greedy_and_a_penalty_of_one_is_not(model):
    (prompt,) = prompts([9])
    plain, contrasted = run_requests(
        model,
        request(prompt, params=GREEDY, max_tokens=12),
        contrastive_request(prompt, alpha=1e-6),
        max_num_seqs=12,
        num_blocks=80,
    )
    assert contrasted.tokens == plain.tokens
    (neighbour,) = run_requests(model, contrastive_request(prompt, alpha=1.0), max_num_seqs=12, num_blocks=80)
    assert neighbour.tokens != plain.tokens
