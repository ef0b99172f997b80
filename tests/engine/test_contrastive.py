"""Contrastive search: the formula, token by token, in any company."""

import pytest
import torch
from reference import GREEDY, Desk, greedy, make, prompts, request, run

from turnwise.core.parameters import GenerationParams

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")


@torch.inference_mode()
def obvious(model, prompt, most, k, alpha, stop=()):
    """Every candidate by a pass over the whole text."""
    ids = list(prompt)
    while len(ids) - len(prompt) < most:
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
    return make(initializer_range=0.2)


def asked(prompt, k=4, alpha=0.6, most=12, **more):
    return request(prompt, params=GenerationParams(top_k=k, penalty_alpha=alpha), most=most, **more)


@pytest.mark.parametrize(("k", "alpha"), [(4, 0.6), (2, 0.3), (9, 0.9)])
def test_every_token_is_the_one_of_the_formula(model, k, alpha):
    for prompt in prompts([1, 7, 33]):
        (heard,) = run(model, asked(prompt, k, alpha), slots=12, blocks=80)
        assert (heard.tokens, heard.finish) == obvious(model, prompt, 12, k, alpha)


def test_it_ends_at_stop_ids(model):
    (prompt,) = prompts([7])
    said, _ = obvious(model, prompt, 12, 4, 0.6)
    (heard,) = run(model, asked(prompt, stop=[said[5]]), slots=12, blocks=80)
    assert (heard.tokens, heard.finish) == obvious(model, prompt, 12, 4, 0.6, [said[5]])


@pytest.mark.parametrize("blocks", [12, 16, 80])
def test_it_is_the_same_in_company_and_short_of_memory(model, blocks):
    wanted = asked(prompts([40])[0], most=30)
    (alone,) = run(model, wanted, blocks=80)
    desk = Desk(model, slots=12, blocks=blocks)
    others = [desk.submit(request([5, number], most=40)) for number in range(3)]
    group = desk.submit(wanted)
    again = desk.submit(wanted)
    desk.finish()
    assert group.on_event.tokens == again.on_event.tokens == alone.tokens
    for number, other in enumerate(others):
        assert other.on_event.tokens == greedy(model, [5, number], 40)[0]


def test_no_weight_on_likeness_is_greedy_and_all_of_it_is_not(model):
    (prompt,) = prompts([9])
    plain, contrasted = run(
        model, request(prompt, params=GREEDY, most=12), asked(prompt, alpha=1e-6), slots=12, blocks=80
    )
    assert contrasted.tokens == plain.tokens
    (other,) = run(model, asked(prompt, alpha=1.0), slots=12, blocks=80)
    assert other.tokens != plain.tokens
