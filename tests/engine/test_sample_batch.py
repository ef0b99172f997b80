"""Logprobs, logit bias and constraints, through the scheduler."""

import math

import numpy as np
import pytest
import torch
from reference import GREEDY, VOCAB, greedy, make_decoder, next_logits, request, run_requests

from turnwise.core.errors import UserError
from turnwise.core.parameters import GenerationParams
from turnwise.engine.generation_errors import NoTokenAllowed

pytestmark = pytest.mark.usefixtures("one_thread")


def with_logprobs(**params):
    return GenerationParams(**{"temperature": 0, "logprobs": True, **params})


@pytest.fixture(scope="module")
def model():
    return make_decoder()


def test_there_are_no_logprobs_by_default(model):
    (recorder,) = run_requests(model, request([4, 8]))
    assert {event.logprobs for event in recorder.events} == {None}


def test_logprobs_are_those_of_the_model(model):
    (recorder,) = run_requests(model, request([4, 8, 15], params=with_logprobs(top_logprobs=5), max_tokens=6))
    ids = [4, 8, 15]
    for event in recorder.events:
        exact = next_logits(model, ids).double().log_softmax(dim=0)
        assert event.logprobs.logprob == pytest.approx(exact[event.token_id].item(), abs=1e-4)
        values, best = exact.topk(5)
        assert [id for id, _ in event.logprobs.top_logprobs] == best.tolist()
        assert [value for _, value in event.logprobs.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)
        assert event.token_id == event.logprobs.top_logprobs[0][0]  # greedy sampling takes the most likely token
        ids.append(event.token_id)


@pytest.mark.parametrize("params", [{"temperature": 1.7}, {"top_k": 3}, {"top_p": 0.4}, {"min_p": 0.3}])
def test_temperature_and_truncation_do_not_change_logprobs(model, params):
    (recorder,) = run_requests(
        model, request([4, 8], params=with_logprobs(**{"temperature": 1, "seed": 3, **params}), max_tokens=1)
    )
    (event,) = recorder.events
    assert event.logprobs.logprob == pytest.approx(
        next_logits(model, [4, 8]).log_softmax(dim=0)[event.token_id].item(), abs=1e-4
    )


def test_each_request_gets_its_number_of_top_logprobs(model):
    params_list = [with_logprobs(top_logprobs=3), GREEDY, with_logprobs(), with_logprobs(top_logprobs=20)]
    recorders = run_requests(model, *(request([7, i], params=params) for i, params in enumerate(params_list)))
    counts = [
        {None if e.logprobs is None else len(e.logprobs.top_logprobs) for e in recorder.events}
        for recorder in recorders
    ]
    assert counts == [{3}, {None}, {0}, {20}]


def test_a_logit_bias_shifts_logprobs_by_its_value(model):
    def report(**params):
        (recorder,) = run_requests(
            model, request([4, 8], params=with_logprobs(top_logprobs=20, **params), max_tokens=1)
        )
        return dict(recorder.events[0].logprobs.top_logprobs)

    plain = report()
    (first, second), bias = list(plain)[:2], 0.75
    moved = report(logit_bias={first: bias})
    assert (moved[first] - moved[second]) - (plain[first] - plain[second]) == pytest.approx(bias, abs=1e-5)


def test_biases_of_minus_and_plus_100_ban_and_force_tokens(model):
    (prompt, max_tokens) = ([4, 8, 15], 8)
    output_ids, _ = greedy(model, prompt, max_tokens)
    (banned, forced) = run_requests(
        model,
        request(
            prompt,
            params=GenerationParams(temperature=0, logit_bias=dict.fromkeys(set(output_ids), -100)),
            max_tokens=max_tokens,
        ),
        request(prompt, params=GenerationParams(temperature=0, logit_bias={5: 100}), max_tokens=max_tokens),
    )
    assert not set(banned.tokens) & set(output_ids)
    assert forced.tokens == [5] * max_tokens


class OnlyTokens:
    """A constraint that allows one sequence of tokens and is then complete."""

    def __init__(self, *tokens, fails=None):
        self.tokens, self.fails = tokens, fails

    def start(self):
        return OnlyTokensState(self.tokens, self.fails)


class OnlyTokensState:
    def __init__(self, tokens, fails):
        self.remaining, self.fails = list(tokens), fails

    def token_mask(self):
        if self.fails:
            raise UserError(self.fails)
        mask = np.zeros(VOCAB, dtype=bool)
        mask[self.remaining[:1]] = True
        return mask

    def accept(self, token):
        assert token == self.remaining.pop(0)

    def fork(self):
        return OnlyTokensState(self.remaining, self.fails)

    @property
    def is_complete(self):
        return not self.remaining and not self.fails


def constrained(prompt, constraint, **more):
    unconstrained = request(prompt, **more)
    return type(unconstrained)(
        unconstrained.prompt_ids, unconstrained.params, unconstrained.max_tokens, unconstrained.stop_ids, (constraint,)
    )


@pytest.mark.parametrize("params", [GREEDY, GenerationParams(temperature=2, seed=1)])
def test_a_constraint_determines_and_ends_its_answer_and_no_other(model, params):
    constrained_result, unconstrained_result = run_requests(
        model, constrained([1, 2], OnlyTokens(9, 3, 9), params=params, max_tokens=50), request([4, 8], max_tokens=12)
    )
    assert (constrained_result.tokens, constrained_result.finish) == ([9, 3, 9], "stop")
    assert (unconstrained_result.tokens, unconstrained_result.finish) == greedy(model, [4, 8], 12)


def test_a_constrained_answer_cut_off_by_max_tokens_has_finish_reason_length(model):
    (recorder,) = run_requests(model, constrained([1, 2], OnlyTokens(9, 3, 9), max_tokens=2))
    assert (recorder.tokens, recorder.finish) == ([9, 3], "length")


@pytest.mark.parametrize("params", [GREEDY, GenerationParams(top_p=0.9, typical_p=0.9, top_k=5, min_p=0.1, seed=1)])
def test_contradicting_constraints_end_the_request_with_a_message(model, params):
    both = request([1, 2], params=params, max_tokens=5, constraints=(OnlyTokens(9), OnlyTokens(3)))
    contradiction, unconstrained_result = run_requests(model, both, request([4, 8]))
    assert isinstance(contradiction.events[-1].error, NoTokenAllowed)
    assert unconstrained_result.tokens == greedy(model, [4, 8], 8)[0]


def test_a_constraint_with_a_user_error_ends_only_its_own_request(model):
    hard, unconstrained_result = run_requests(
        model, constrained([1, 2], OnlyTokens(9, fails="too hard")), request([4, 8])
    )
    assert str(hard.events[-1].error) == "too hard"
    assert unconstrained_result.tokens == greedy(model, [4, 8], 8)[0]


def test_top_logprobs_are_finite_and_sum_to_at_most_one(model):
    (recorder,) = run_requests(
        make_decoder(tied=True), request([4], params=with_logprobs(top_logprobs=20), max_tokens=3)
    )
    for event in recorder.events:
        assert 0 < sum(math.exp(value) for _, value in event.logprobs.top_logprobs) <= 1 + 1e-9
    assert torch.isfinite(torch.tensor([event.logprobs.logprob for event in recorder.events])).all()
