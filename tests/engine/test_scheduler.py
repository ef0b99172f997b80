"""The scheduler, stepped by hand without a thread."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import GREEDY, SHAPES, VOCAB, SchedulerHarness, greedy, make_decoder, prompts, request

from turnwise.core.inference import FinishEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.generation_errors import NonFiniteLogits
from turnwise.engine.scheduling import batch_builder as plan_file
from turnwise.engine.scheduling.batch_builder import MAX_PREFILL_TOKENS, MAX_PREFILL_TOKENS_WITH_DECODE

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [1, 2, 9, 40])
def test_greedy_decoding_equals_the_argmax_loop(shape, length):
    model = make_decoder(shape)
    (prompt,) = prompts([length])
    harness = SchedulerHarness(model)
    group = harness.submit(request(prompt, max_tokens=20))
    harness.finish()
    assert (group.on_event.tokens, group.on_event.finish) == greedy(model, prompt, 20)


@pytest.mark.parametrize("shape", SHAPES)
def test_requests_that_join_and_leave_at_different_times_do_not_affect_each_other(shape):
    model = make_decoder(shape)
    harness = SchedulerHarness(model, max_num_seqs=3)
    generation_requests = [
        request(p, max_tokens=3 + 5 * (i % 4)) for i, p in enumerate(prompts([5, 1, 17, 30, 2, 9, 11, 3, 24]))
    ]
    groups = []
    for submitted_request in generation_requests:
        groups.append(harness.submit(submitted_request))
        harness.scheduler.step()
        harness.scheduler.step()
    harness.finish()
    for submitted_request, group in zip(generation_requests, groups, strict=True):
        assert (group.on_event.tokens, group.on_event.finish) == greedy(
            model, submitted_request.prompt_ids, submitted_request.max_tokens
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [7, 8, 9, 10, 16, 17, 33])
def test_a_prompt_longer_than_a_chunk_is_prefilled_in_chunks(shape, length, monkeypatch):
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS", 8)
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS_WITH_DECODE", 3)
    model = make_decoder(shape)
    (prompt,) = prompts([length])
    harness = SchedulerHarness(model)
    neighbour, group = harness.submit(request([3, 1], max_tokens=20)), harness.submit(request(prompt, max_tokens=12))
    harness.finish()
    assert group.on_event.tokens == greedy(model, prompt, 12)[0]
    assert neighbour.on_event.tokens == greedy(model, [3, 1], 20)[0]


def test_a_prompt_longer_than_the_real_chunk_size_is_answered():
    model = make_decoder(context=MAX_PREFILL_TOKENS + 60)
    (prompt,) = prompts([MAX_PREFILL_TOKENS + 40])
    harness = SchedulerHarness(model, max_num_seqs=1)
    group = harness.submit(request(prompt, max_tokens=10))
    harness.finish()
    assert group.on_event.tokens == greedy(model, prompt, 10)[0]


def test_all_running_requests_may_end_in_the_same_step():
    model = make_decoder()
    harness = SchedulerHarness(model)
    groups = [harness.submit(request(p, max_tokens=3)) for p in prompts([4, 4, 6, 2])]
    harness.finish()
    assert {len(group.on_event.tokens) for group in groups} == {3}
    assert harness.scheduler.queues.running == []


def test_a_stop_id_ends_the_answer_and_is_not_part_of_it():
    model = make_decoder()
    (prompt,) = prompts([6])
    output_ids, _ = greedy(model, prompt, 12)
    stop = output_ids[5]
    first = output_ids.index(stop)
    harness = SchedulerHarness(model)
    group = harness.submit(request(prompt, max_tokens=12, stop=[stop, 60]))
    harness.finish()
    assert group.on_event.tokens == output_ids[:first]
    assert group.on_event.finish == "stop"
    assert isinstance(group.on_event.events[-1], FinishEvent)


def test_an_answer_may_stop_before_its_first_token():
    model = make_decoder()
    first = greedy(model, [5, 2], 1)[0]
    harness = SchedulerHarness(model)
    group = harness.submit(request([5, 2], stop=first))
    harness.scheduler.step()
    assert group.on_event.events == [FinishEvent("stop", first[0])]
    assert harness.scheduler.is_idle


@pytest.mark.parametrize("max_tokens", [1, 2, 7])
def test_max_tokens_is_exact_and_the_last_token_has_the_finish_reason(max_tokens):
    harness = SchedulerHarness(make_decoder())
    group = harness.submit(request([4, 4, 4], max_tokens=max_tokens))
    harness.finish()
    assert len(group.on_event.tokens) == max_tokens
    assert [event.finish_reason for event in group.on_event.events] == [None] * (max_tokens - 1) + ["length"]


def test_an_answer_may_fill_the_context_to_the_last_token():
    model = make_decoder(context=32)
    harness = SchedulerHarness(model)
    group = harness.submit(request([1] * 20, max_tokens=12))
    harness.finish()
    assert group.on_event.tokens == greedy(model, [1] * 20, 12)[0]


def test_a_cancelled_request_is_removed_after_one_step():
    harness = SchedulerHarness(make_decoder(), max_num_seqs=1)
    group, waiting = harness.submit(request([1, 2], max_tokens=50)), harness.submit(request([3], max_tokens=50))
    harness.scheduler.step()
    harness.scheduler.step()
    group.cancel()
    harness.scheduler.step()
    assert group.on_event.finish == "cancelled"
    assert harness.scheduler.queues.running == [waiting]  # it was admitted in the same step
    assert waiting.on_event.tokens


def test_cancelling_is_possible_before_the_start_twice_and_after_the_end():
    harness = SchedulerHarness(make_decoder(), max_num_seqs=1)
    running, waiting = harness.submit(request([1], max_tokens=3)), harness.submit(request([2]))
    waiting.cancel()
    waiting.cancel()
    harness.scheduler.step()
    assert [event.finish_reason for event in waiting.on_event.events] == ["cancelled"]
    harness.finish()
    assert running.on_event.finish == "length"
    running.cancel()
    harness.scheduler.step()
    assert running.on_event.finish == "length"


def test_a_long_prompt_delays_running_requests_by_at_most_one_chunk():
    model = make_decoder(context=8 * MAX_PREFILL_TOKENS_WITH_DECODE)
    harness = SchedulerHarness(model)
    talking = harness.submit(request([1, 2], max_tokens=40))
    harness.scheduler.step()
    (long,) = prompts([6 * MAX_PREFILL_TOKENS_WITH_DECODE])
    late = harness.submit(request(long, max_tokens=3))
    steps = 0
    while not late.on_event.tokens:
        output_ids = len(talking.on_event.tokens)
        harness.scheduler.step()
        steps += 1
        assert len(talking.on_event.tokens) == output_ids + 1, "one token per step"
    assert steps == 6
    harness.finish()
    assert late.on_event.tokens == greedy(model, long, 3)[0]


def test_a_short_prompt_does_not_wait_for_a_long_one():
    model = make_decoder(context=3 * MAX_PREFILL_TOKENS)
    harness = SchedulerHarness(model)
    long, short = (
        harness.submit(request(prompts([2 * MAX_PREFILL_TOKENS])[0])),
        harness.submit(request(prompts([100], seed=2)[0])),
    )
    harness.scheduler.step()
    assert short.on_event.tokens
    assert not long.on_event.tokens
    assert long.sequence.table.num_computed_tokens == MAX_PREFILL_TOKENS - 100


# Seeds


def sampled(seed=None, **params):
    return GenerationParams(temperature=1.2, seed=seed, **params)


def alone(model, submitted_request):
    harness = SchedulerHarness(model)
    group = harness.submit(submitted_request)
    harness.finish()
    return group.on_event.tokens


@pytest.mark.parametrize("params", [{}, {"top_k": 9}, {"top_p": 0.8}, {"top_k": 20, "top_p": 0.9}])
def test_a_seed_gives_the_same_answer_alone_and_beside_other_requests(params):
    model = make_decoder()
    submitted_request = request([4, 8, 15], params=sampled(seed=7, **params), max_tokens=25)
    expected = alone(model, submitted_request)
    assert alone(model, submitted_request) == expected
    harness = SchedulerHarness(model, max_num_seqs=5)
    others = [request(p, params=sampled(), max_tokens=4 + 3 * i) for i, p in enumerate(prompts([2, 30, 7]))]
    harness.submit(others[0])
    harness.submit(request([9], max_tokens=30))
    harness.scheduler.step()
    harness.submit(others[1])
    group = harness.submit(submitted_request)
    harness.scheduler.step()
    harness.submit(others[2])
    harness.finish()
    assert group.on_event.tokens == expected


def test_different_seeds_and_no_seed_give_different_answers():
    model = make_decoder()
    seeds = [0, 1, -1, 2, -2, 2**63 - 1, -(2**63), None, None, None]
    answers = {tuple(alone(model, request([4, 8, 15], params=sampled(seed), max_tokens=25))) for seed in seeds}
    assert len(answers) == len(seeds)


def test_unseeded_requests_do_not_use_the_global_random_state():
    model = make_decoder()
    random.seed(0)
    torch.manual_seed(0)
    first = alone(model, request([4], params=sampled(), max_tokens=25))
    random.seed(0)
    torch.manual_seed(0)
    assert alone(model, request([4], params=sampled(), max_tokens=25)) != first


# Failures


def test_a_failing_callback_ends_only_its_own_request(caplog):
    model = make_decoder()
    harness = SchedulerHarness(model)

    def failing_callback(event):
        raise RuntimeError("Event loop is closed")

    groups = [harness.submit(request(p, max_tokens=10)) for p in prompts([3, 5, 2])]
    groups[1].on_event = failing_callback
    harness.scheduler.step()
    harness.scheduler.step()
    assert groups[1] not in harness.scheduler.queues.running
    harness.finish()
    for group in (groups[0], groups[2]):
        assert (group.on_event.tokens, group.on_event.finish) == greedy(model, group.request.prompt_ids, 10)
    assert len([record for record in caplog.records if "listener" in record.message]) == 1


def test_non_finite_logits_end_the_request_and_leave_nothing_in_the_cache():
    model = make_decoder()
    with torch.no_grad():
        model.embed.weight[50] = torch.inf
    harness = SchedulerHarness(model)
    (prompt,) = prompts([5])
    prompt = [id % 50 for id in prompt]
    long = harness.submit(request([id % 50 for id in prompts([30])[0]], max_tokens=8))
    broken = harness.submit(request([1] * 20 + [50, 2, 3], max_tokens=8))
    harness.scheduler.step()
    assert broken.on_event.finish == "error"
    assert isinstance(broken.on_event.events[-1].error, NonFiniteLogits)
    after = harness.submit(request(prompt, max_tokens=8))  # in the blocks of the failed one, beside a longer sequence
    harness.finish()
    for group in (long, after):
        assert group.on_event.tokens == greedy(model, group.request.prompt_ids, 8)[0]
    assert harness.scheduler.queues.kv_cache.num_cached_tokens("", broken.sequence.ids) == 0, (
        "non-finite values are not cached"
    )


# Random sequences of events

MODELS = {}


def model_of(shape):
    return MODELS.setdefault(shape, make_decoder(shape, context=48))


requests = st.builds(
    lambda prompt, max_tokens, stop, hot: (prompt, min(max_tokens, 48 - len(prompt)), stop, hot),
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40),
    st.integers(1, 12),
    st.frozensets(st.integers(0, VOCAB - 1), max_size=4),
    st.sampled_from([None, None, sampled(3), sampled(4, top_k=5), sampled(5, top_p=0.6)]),
)
moves = st.lists(
    st.one_of(requests, st.just("step"), st.just("step"), st.integers(0, 30)),  # an integer cancels a request
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(shape=st.sampled_from(sorted(SHAPES)), max_num_seqs=st.integers(1, 4), moves=moves)
def test_any_sequence_of_events_ends_with_the_right_tokens_and_finish_reasons(shape, max_num_seqs, moves):
    model = model_of(shape)
    harness = SchedulerHarness(model, max_num_seqs)
    groups = []
    for move in moves:
        if isinstance(move, tuple):
            prompt, max_tokens, stop, hot = move
            groups.append(harness.submit(request(prompt, params=hot or GREEDY, max_tokens=max_tokens, stop=stop)))
        elif isinstance(move, int):
            if groups:
                groups[move % len(groups)].cancel()
        else:
            harness.scheduler.step()
            assert len(harness.scheduler.queues.running) <= max_num_seqs
            assert not any(group.on_event.finish for group in harness.scheduler.queues.running)
    harness.finish()
    for group in groups:
        output_ids, submitted_request = group.on_event.tokens, group.request
        assert group.on_event.finish in ({"cancelled", "stop", "length"} if group.is_cancelled else {"stop", "length"})
        assert not submitted_request.stop_ids & set(output_ids)
        assert (len(output_ids) == submitted_request.max_tokens) == (group.on_event.finish == "length")
        expected, finish = greedy(
            model, submitted_request.prompt_ids, submitted_request.max_tokens, submitted_request.stop_ids
        )
        if not group.sampler_state.is_greedy:
            continue
        if group.on_event.finish == "cancelled":
            assert output_ids == expected[: len(output_ids)]
        else:
            assert (output_ids, group.on_event.finish) == (expected, finish)
