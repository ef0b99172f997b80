"""The scheduler, stepped by hand: no thread, so every step can be looked at."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import GREEDY, SHAPES, VOCAB, Desk, greedy, make, prompts, request

from turnwise.core.inference import FinishEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.generation_errors import NonFiniteLogits
from turnwise.engine.scheduling import batch_builder as plan_file
from turnwise.engine.scheduling.batch_builder import MAX_PREFILL_TOKENS, MAX_PREFILL_TOKENS_WITH_DECODE

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [1, 2, 9, 40])
def test_greedy_decoding_is_the_argmax_loop(shape, length):
    model = make(shape)
    (prompt,) = prompts([length])
    desk = Desk(model)
    group = desk.submit(request(prompt, most=20))
    desk.finish()
    assert (group.on_event.tokens, group.on_event.finish) == greedy(model, prompt, 20)


@pytest.mark.parametrize("shape", SHAPES)
def test_chats_that_join_and_leave_at_different_times_do_not_disturb_each_other(shape):
    model = make(shape)
    desk = Desk(model, slots=3)
    asked = [request(p, most=3 + 5 * (i % 4)) for i, p in enumerate(prompts([5, 1, 17, 30, 2, 9, 11, 3, 24]))]
    groups = []
    for one in asked:
        groups.append(desk.submit(one))
        desk.scheduler.step()
        desk.scheduler.step()
    desk.finish()
    for one, group in zip(asked, groups, strict=True):
        assert (group.on_event.tokens, group.on_event.finish) == greedy(model, one.prompt_ids, one.max_tokens)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [7, 8, 9, 10, 16, 17, 33])
def test_a_prompt_longer_than_a_part_is_read_in_parts(shape, length, monkeypatch):
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS", 8)
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS_WITH_DECODE", 3)
    model = make(shape)
    (prompt,) = prompts([length])
    desk = Desk(model)
    other, group = desk.submit(request([3, 1], most=20)), desk.submit(request(prompt, most=12))
    desk.finish()
    assert group.on_event.tokens == greedy(model, prompt, 12)[0]
    assert other.on_event.tokens == greedy(model, [3, 1], 20)[0]


def test_a_prompt_longer_than_a_real_part():
    model = make(context=MAX_PREFILL_TOKENS + 60)
    (prompt,) = prompts([MAX_PREFILL_TOKENS + 40])
    desk = Desk(model, slots=1)
    group = desk.submit(request(prompt, most=10))
    desk.finish()
    assert group.on_event.tokens == greedy(model, prompt, 10)[0]


def test_all_slots_ending_in_one_step_leave_none_behind():
    model = make()
    desk = Desk(model)
    groups = [desk.submit(request(p, most=3)) for p in prompts([4, 4, 6, 2])]
    desk.finish()
    assert {len(group.on_event.tokens) for group in groups} == {3}
    assert desk.scheduler.queues.running == []


def test_a_stop_id_ends_the_answer_and_is_not_part_of_it():
    model = make()
    (prompt,) = prompts([6])
    said, _ = greedy(model, prompt, 12)
    stop = said[5]
    first = said.index(stop)
    desk = Desk(model)
    group = desk.submit(request(prompt, most=12, stop=[stop, 60]))
    desk.finish()
    assert group.on_event.tokens == said[:first]
    assert group.on_event.finish == "stop"
    assert isinstance(group.on_event.events[-1], FinishEvent)


def test_an_answer_may_stop_before_its_first_token():
    model = make()
    first = greedy(model, [5, 2], 1)[0]
    desk = Desk(model)
    group = desk.submit(request([5, 2], stop=first))
    desk.scheduler.step()
    assert group.on_event.events == [FinishEvent("stop", first[0])]
    assert desk.scheduler.is_idle


@pytest.mark.parametrize("most", [1, 2, 7])
def test_max_tokens_is_exact_and_the_last_token_says_so(most):
    desk = Desk(make())
    group = desk.submit(request([4, 4, 4], most=most))
    desk.finish()
    assert len(group.on_event.tokens) == most
    assert [event.finish_reason for event in group.on_event.events] == [None] * (most - 1) + ["length"]


def test_an_answer_may_fill_the_context_to_the_last_token():
    model = make(context=32)
    desk = Desk(model)
    group = desk.submit(request([1] * 20, most=12))
    desk.finish()
    assert group.on_event.tokens == greedy(model, [1] * 20, 12)[0]


def test_a_cancelled_chat_is_gone_after_one_step():
    desk = Desk(make(), slots=1)
    group, waiting = desk.submit(request([1, 2], most=50)), desk.submit(request([3], most=50))
    desk.scheduler.step()
    desk.scheduler.step()
    group.cancel()
    desk.scheduler.step()
    assert group.on_event.finish == "cancelled"
    assert desk.scheduler.queues.running == [waiting]  # it got the slot in the same step
    assert waiting.on_event.tokens


def test_cancelling_before_the_start_twice_and_after_the_end():
    desk = Desk(make(), slots=1)
    running, waiting = desk.submit(request([1], most=3)), desk.submit(request([2]))
    waiting.cancel()
    waiting.cancel()
    desk.scheduler.step()
    assert [event.finish_reason for event in waiting.on_event.events] == ["cancelled"]
    desk.finish()
    assert running.on_event.finish == "length"
    running.cancel()
    desk.scheduler.step()
    assert running.on_event.finish == "length"


def test_a_long_prompt_holds_nobody_up_for_more_than_a_part():
    model = make(context=8 * MAX_PREFILL_TOKENS_WITH_DECODE)
    desk = Desk(model)
    talking = desk.submit(request([1, 2], most=40))
    desk.scheduler.step()
    (long,) = prompts([6 * MAX_PREFILL_TOKENS_WITH_DECODE])
    late = desk.submit(request(long, most=3))
    steps = 0
    while not late.on_event.tokens:
        said = len(talking.on_event.tokens)
        desk.scheduler.step()
        steps += 1
        assert len(talking.on_event.tokens) == said + 1, "a token at every step"
    assert steps == 6
    desk.finish()
    assert late.on_event.tokens == greedy(model, long, 3)[0]


def test_a_short_prompt_does_not_wait_for_a_long_one():
    model = make(context=3 * MAX_PREFILL_TOKENS)
    desk = Desk(model)
    long, short = (
        desk.submit(request(prompts([2 * MAX_PREFILL_TOKENS])[0])),
        desk.submit(request(prompts([100], seed=2)[0])),
    )
    desk.scheduler.step()
    assert short.on_event.tokens
    assert not long.on_event.tokens
    assert long.sequence.table.length == MAX_PREFILL_TOKENS - 100


# Seeds


def sampled(seed=None, **params):
    return GenerationParams(temperature=1.2, seed=seed, **params)


def alone(model, asked):
    desk = Desk(model)
    group = desk.submit(asked)
    desk.finish()
    return group.on_event.tokens


@pytest.mark.parametrize("params", [{}, {"top_k": 9}, {"top_p": 0.8}, {"top_k": 20, "top_p": 0.9}])
def test_a_seed_gives_the_same_answer_alone_and_among_others(params):
    model = make()
    asked = request([4, 8, 15], params=sampled(seed=7, **params), most=25)
    expected = alone(model, asked)
    assert alone(model, asked) == expected
    desk = Desk(model, slots=5)
    others = [request(p, params=sampled(), most=4 + 3 * i) for i, p in enumerate(prompts([2, 30, 7]))]
    desk.submit(others[0])
    desk.submit(request([9], most=30))
    desk.scheduler.step()
    desk.submit(others[1])
    group = desk.submit(asked)
    desk.scheduler.step()
    desk.submit(others[2])
    desk.finish()
    assert group.on_event.tokens == expected


def test_different_seeds_and_no_seed_give_different_answers():
    model = make()
    seeds = [0, 1, -1, 2, -2, 2**63 - 1, -(2**63), None, None, None]
    answers = {tuple(alone(model, request([4, 8, 15], params=sampled(seed), most=25))) for seed in seeds}
    assert len(answers) == len(seeds)


def test_a_chat_draws_from_nobody_elses_numbers():
    model = make()
    random.seed(0)
    torch.manual_seed(0)
    first = alone(model, request([4], params=sampled(), most=25))
    random.seed(0)
    torch.manual_seed(0)
    assert alone(model, request([4], params=sampled(), most=25)) != first


# Failure


def test_a_listener_that_fails_loses_its_own_chat_only(caplog):
    model = make()
    desk = Desk(model)

    def gone(event):
        raise RuntimeError("Event loop is closed")

    groups = [desk.submit(request(p, most=10)) for p in prompts([3, 5, 2])]
    groups[1].on_event = gone
    desk.scheduler.step()
    desk.scheduler.step()
    assert groups[1] not in desk.scheduler.queues.running
    desk.finish()
    for group in (groups[0], groups[2]):
        assert (group.on_event.tokens, group.on_event.finish) == greedy(model, group.request.prompt_ids, 10)
    assert len([record for record in caplog.records if "listener" in record.message]) == 1


def test_overflow_is_an_error_and_leaves_nothing_behind():
    model = make()
    desk = Desk(model)
    with torch.no_grad():
        model.embed.weight[50] = torch.inf
    (prompt,) = prompts([5])
    prompt = [id % 50 for id in prompt]
    long = desk.submit(request([id % 50 for id in prompts([30])[0]], most=8))
    broken = desk.submit(request([1] * 20 + [50, 2, 3], most=8))
    desk.scheduler.step()
    assert broken.on_event.finish == "error"
    assert isinstance(broken.on_event.events[-1].error, NonFiniteLogits)
    after = desk.submit(request(prompt, most=8))  # in the blocks of the broken one, with a longer chat beside it
    desk.finish()
    for group in (long, after):
        assert group.on_event.tokens == greedy(model, group.request.prompt_ids, 8)[0]
    assert desk.scheduler.queues.kv_cache.num_cached_tokens("", broken.sequence.ids) == 0, (
        "what overflowed is kept for nobody"
    )


# Anything at any time

MODELS = {}


def model_of(shape):
    return MODELS.setdefault(shape, make(shape, context=48))


requests = st.builds(
    lambda prompt, most, stop, hot: (prompt, min(most, 48 - len(prompt)), stop, hot),
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40),
    st.integers(1, 12),
    st.frozensets(st.integers(0, VOCAB - 1), max_size=4),
    st.sampled_from([None, None, sampled(3), sampled(4, top_k=5), sampled(5, top_p=0.6)]),
)
moves = st.lists(
    st.one_of(requests, st.just("step"), st.just("step"), st.integers(0, 30)),  # an integer cancels a chat
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(shape=st.sampled_from(sorted(SHAPES)), slots=st.integers(1, 4), moves=moves)
def test_whatever_comes_ends_for_the_right_reason_with_the_right_tokens(shape, slots, moves):
    model = model_of(shape)
    desk = Desk(model, slots)
    groups = []
    for move in moves:
        if isinstance(move, tuple):
            prompt, most, stop, hot = move
            groups.append(desk.submit(request(prompt, params=hot or GREEDY, most=most, stop=stop)))
        elif isinstance(move, int):
            if groups:
                groups[move % len(groups)].cancel()
        else:
            desk.scheduler.step()
            assert len(desk.scheduler.queues.running) <= slots
            assert not any(group.on_event.finish for group in desk.scheduler.queues.running)
    desk.finish()
    for group in groups:
        said, asked = group.on_event.tokens, group.request
        assert group.on_event.finish in ({"cancelled", "stop", "length"} if group.is_cancelled else {"stop", "length"})
        assert not asked.stop_ids & set(said)
        assert (len(said) == asked.max_tokens) == (group.on_event.finish == "length")
        expected, finish = greedy(model, asked.prompt_ids, asked.max_tokens, asked.stop_ids)
        if not group.sampler_state.is_greedy:
            continue
        if group.on_event.finish == "cancelled":
            assert said == expected[: len(said)]
        else:
            assert (said, group.on_event.finish) == (expected, finish)
