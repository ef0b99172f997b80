"""What the engine reports and what it allows: log-probabilities and constraints, through the scheduler."""

import math

import numpy as np
import pytest
import torch
from reference import GREEDY, VOCAB, greedy, make, next_logits, request, run

from turnwise.core.errors import UserError
from turnwise.core.parameters import GenerationParams
from turnwise.engine.generation_errors import NoTokenAllowed

pytestmark = pytest.mark.usefixtures("one_thread")


def reported(**params):
    return GenerationParams(**{"temperature": 0, "logprobs": True, **params})


@pytest.fixture(scope="module")
def model():
    return make()


def test_no_report_where_none_is_asked_for(model):
    (listener,) = run(model, request([4, 8]))
    assert {event.logprobs for event in listener.events} == {None}


def test_reported_are_the_models_own_log_probabilities(model):
    (listener,) = run(model, request([4, 8, 15], params=reported(top_logprobs=5), most=6))
    ids = [4, 8, 15]
    for event in listener.events:
        exact = next_logits(model, ids).double().log_softmax(dim=0)
        assert event.logprobs.logprob == pytest.approx(exact[event.token_id].item(), abs=1e-4)
        values, best = exact.topk(5)
        assert [id for id, _ in event.logprobs.top_logprobs] == best.tolist()
        assert [value for _, value in event.logprobs.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)
        assert event.token_id == event.logprobs.top_logprobs[0][0]  # greedy takes the likeliest
        ids.append(event.token_id)


@pytest.mark.parametrize("params", [{"temperature": 1.7}, {"top_k": 3}, {"top_p": 0.4}, {"min_p": 0.3}])
def test_temperature_and_truncation_do_not_change_the_report(model, params):
    (listener,) = run(model, request([4, 8], params=reported(**{"temperature": 1, "seed": 3, **params}), most=1))
    (event,) = listener.events
    assert event.logprobs.logprob == pytest.approx(
        next_logits(model, [4, 8]).log_softmax(dim=0)[event.token_id].item(), abs=1e-4
    )


def test_every_chat_gets_as_many_as_it_asked_for(model):
    wanted = [reported(top_logprobs=3), GREEDY, reported(), reported(top_logprobs=20)]
    listeners = run(model, *(request([7, i], params=params) for i, params in enumerate(wanted)))
    counts = [{None if e.logprobs is None else len(e.logprobs.top_logprobs) for e in one.events} for one in listeners]
    assert counts == [{3}, {None}, {0}, {20}]


def test_a_bias_moves_log_probabilities_by_exactly_that_much(model):
    def report(**params):
        (listener,) = run(model, request([4, 8], params=reported(top_logprobs=20, **params), most=1))
        return dict(listener.events[0].logprobs.top_logprobs)

    plain = report()
    (first, second), bias = list(plain)[:2], 0.75
    moved = report(logit_bias={first: bias})
    assert (moved[first] - moved[second]) - (plain[first] - plain[second]) == pytest.approx(bias, abs=1e-5)


def test_a_banned_token_does_not_come_and_a_forced_one_does(model):
    (prompt, most) = ([4, 8, 15], 8)
    said, _ = greedy(model, prompt, most)
    (banned, forced) = run(
        model,
        request(prompt, params=GenerationParams(temperature=0, logit_bias=dict.fromkeys(set(said), -100)), most=most),
        request(prompt, params=GenerationParams(temperature=0, logit_bias={5: 100}), most=most),
    )
    assert not set(banned.tokens) & set(said)
    assert forced.tokens == [5] * most


class Only:
    """Allows one token after the other, then says that it is complete."""

    def __init__(self, *tokens, fails=None):
        self.tokens, self.fails = tokens, fails

    def start(self):
        return OnlyState(self.tokens, self.fails)


class OnlyState:
    def __init__(self, tokens, fails):
        self.left, self.fails = list(tokens), fails

    def token_mask(self):
        if self.fails:
            raise UserError(self.fails)
        mask = np.zeros(VOCAB, dtype=bool)
        mask[self.left[:1]] = True
        return mask

    def accept(self, token):
        assert token == self.left.pop(0)

    def fork(self):
        return OnlyState(self.left, self.fails)

    @property
    def is_complete(self):
        return not self.left and not self.fails


def constrained(prompt, constraint, **more):
    asked = request(prompt, **more)
    return type(asked)(asked.prompt_ids, asked.params, asked.max_tokens, asked.stop_ids, (constraint,))


@pytest.mark.parametrize("params", [GREEDY, GenerationParams(temperature=2, seed=1)])
def test_a_constraint_decides_and_ends_the_answer_and_its_neighbour_notices_nothing(model, params):
    held, free = run(model, constrained([1, 2], Only(9, 3, 9), params=params, most=50), request([4, 8], most=12))
    assert (held.tokens, held.finish) == ([9, 3, 9], "stop")
    assert (free.tokens, free.finish) == greedy(model, [4, 8], 12)


def test_a_constraint_that_is_cut_off_by_the_limit_says_so(model):
    (listener,) = run(model, constrained([1, 2], Only(9, 3, 9), most=2))
    assert (listener.tokens, listener.finish) == ([9, 3], "length")


@pytest.mark.parametrize("params", [GREEDY, GenerationParams(top_p=0.9, typical_p=0.9, top_k=5, min_p=0.1, seed=1)])
def test_constraints_that_contradict_each_other_end_the_chat_with_a_reason(model, params):
    both = request([1, 2], params=params, most=5, constraints=(Only(9), Only(3)))
    contradiction, free = run(model, both, request([4, 8]))
    assert isinstance(contradiction.events[-1].error, NoTokenAllowed)
    assert free.tokens == greedy(model, [4, 8], 8)[0]


def test_a_constraint_that_gets_too_hard_ends_its_own_chat_only(model):
    hard, free = run(model, constrained([1, 2], Only(9, fails="too hard")), request([4, 8]))
    assert str(hard.events[-1].error) == "too hard"
    assert free.tokens == greedy(model, [4, 8], 8)[0]


def test_log_probabilities_of_all_tokens_sum_to_one(model):
    (listener,) = run(make(tied=True), request([4], params=reported(top_logprobs=20), most=3))
    for event in listener.events:
        assert 0 < sum(math.exp(value) for _, value in event.logprobs.top_logprobs) <= 1 + 1e-9
    assert torch.isfinite(torch.tensor([event.logprobs.logprob for event in listener.events])).all()
