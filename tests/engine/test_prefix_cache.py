"""Prefix caching, preemption and fairness: none of them changes an answer."""

import pytest
from reference import VOCAB, SchedulerHarness, greedy, make_decoder, prompts, request

from turnwise.core.parameters import GenerationParams
from turnwise.engine.scheduling.batch_builder import MAX_PREFILL_TOKENS

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")


@pytest.fixture(scope="module")
def model():
    return make_decoder(context=512)


# Prefix cache


def test_the_next_turn_computes_only_new_tokens(model):
    harness = SchedulerHarness(model)
    conversation, before = prompts([100])[0], [0]
    for turn in range(6):
        group = harness.submit(request(conversation, max_tokens=10))
        before_tokens = harness.tokens
        harness.finish()
        assert group.on_event.tokens == greedy(model, conversation, 10)[0]
        cached = group.on_event.events[0].stats.cached_tokens
        assert cached == len(before) - 1, "all but the last token, whose keys were never computed"
        assert harness.tokens - before_tokens == len(conversation) - cached + 9, "no token is computed twice"
        before = [*conversation, *group.on_event.tokens]
        conversation = [*before, *prompts([7], seed=turn)[0]]


def test_edited_and_retried_turns_share_the_cached_prefix(model):
    harness = SchedulerHarness(model)
    first, second = prompts([80, 60])
    harness.submit(request([*first, *second], max_tokens=3))
    harness.finish()
    retried = harness.submit(request([*first, *second], params=GenerationParams(seed=1), max_tokens=3))
    edited = harness.submit(request([*first, *second[:10], 1, 2, 3], max_tokens=3))
    harness.finish()
    assert retried.stats.cached_tokens == 139
    assert edited.stats.cached_tokens == 90
    assert edited.on_event.tokens == greedy(model, [*first, *second[:10], 1, 2, 3], 3)[0]


def test_a_common_prefix_of_concurrent_requests_is_computed_once(model):
    harness = SchedulerHarness(model, max_num_seqs=8)
    (system,) = prompts([160])
    generation_requests = [request([*system, number, number], max_tokens=4) for number in range(8)]
    groups = [harness.submit(generation_request) for generation_request in generation_requests]
    harness.finish()
    assert harness.tokens == 160 + 8 * (2 + 3)
    for generation_request, group in zip(generation_requests, groups, strict=True):
        assert group.on_event.tokens == greedy(model, generation_request.prompt_ids, 4)[0]


def test_another_scope_shares_no_cached_prefix(model):
    harness = SchedulerHarness(model)
    (conversation,) = prompts([90])
    for scope in ("one", "two", "one"):
        group = harness.submit(request(conversation, max_tokens=2, scope=scope))
        harness.finish()
    assert group.stats.cached_tokens == 89
    neighbour = harness.submit(request(conversation, max_tokens=2, scope="three"))
    harness.finish()
    assert neighbour.stats.cached_tokens == 0


@pytest.mark.parametrize("params", [GenerationParams(temperature=0), GenerationParams(seed=5, temperature=1.3)])
def test_an_answer_is_the_same_with_and_without_a_cached_prefix(model, params):
    (conversation,) = prompts([70])
    fresh, warm = SchedulerHarness(model), SchedulerHarness(model)
    warm.submit(request([*conversation, 5, 5], max_tokens=30))
    warm.finish()
    answers = []
    for harness in (fresh, warm):
        group = harness.submit(request(conversation, params=params, max_tokens=40))
        harness.finish()
        answers.append(group.on_event.tokens)
    assert answers[0] == answers[1]
    assert group.stats.cached_tokens == 69


def test_prompt_logprobs_are_complete_with_a_cached_prefix(model):
    harness = SchedulerHarness(model)
    (conversation,) = prompts([60])
    params = GenerationParams(temperature=0, logprobs=True)
    reports = []
    for _ in range(2):
        group = harness.submit(request(conversation, params=params, max_tokens=0, prompt_output="logprobs"))
        harness.finish()
        reports.append(group.on_event.events[0].prompt_logprobs)
        assert group.stats.cached_tokens == 0
    assert reports[0] == reports[1]
    assert len(reports[0]) == 59


# Memory


@pytest.mark.parametrize("blocks", [8, 12, 20])
@pytest.mark.costly
def test_preempted_requests_give_the_same_answers(model, blocks):
    """Four sequences grow to six blocks each."""
    harness = SchedulerHarness(model, max_num_seqs=4, num_blocks=blocks)
    generation_requests = [
        request(p, params=params, max_tokens=80) for p, params in zip(prompts([10, 11, 12, 13]), PARAMS, strict=True)
    ]
    groups = [harness.submit(generation_request) for generation_request in generation_requests]
    preempted = 0
    while not harness.scheduler.is_idle:
        before = set(harness.scheduler.queues.running)
        harness.step()
        preempted += any(group in harness.scheduler.queues.waiting for group in before)
    assert preempted
    roomy = SchedulerHarness(model, max_num_seqs=4)
    for generation_request, group in zip(generation_requests, groups, strict=True):
        alone = roomy.submit(generation_request)
        roomy.finish()
        assert group.on_event.tokens == alone.on_event.tokens
        assert group.on_event.finish == "length"


PARAMS = [GenerationParams(temperature=0), *(GenerationParams(seed=seed) for seed in range(3))]


def test_cached_prefixes_are_evicted_for_running_requests(model):
    harness = SchedulerHarness(model, max_num_seqs=1, num_blocks=10)
    for number in range(6):
        (conversation,) = prompts([100], seed=number)
        group = harness.submit(request(conversation, max_tokens=20))
        harness.finish()
        assert group.on_event.tokens == greedy(model, conversation, 20)[0]


# Priorities and tenants


def order(harness, groups):
    """The groups in the order in which they finish."""
    left, ended = list(groups), []
    while left:
        harness.step()
        done = [group for group in left if group.on_event.finish]
        ended += done
        left = [group for group in left if group not in done]
    return ended


def test_requests_with_a_lower_priority_value_run_first(model):
    harness = SchedulerHarness(model, max_num_seqs=1)
    groups = [
        harness.submit(request([number], max_tokens=3, priority=priority))
        for number, priority in enumerate([0, 5, -2, 0])
    ]
    assert order(harness, groups) == [groups[2], groups[0], groups[3], groups[1]]


def test_a_more_urgent_request_preempts_a_less_urgent_one_which_resumes_later(model):
    harness = SchedulerHarness(model, max_num_seqs=1)
    slow = harness.submit(request([1, 2], max_tokens=40, priority=1))
    harness.step(5)
    output_ids = slow.on_event.tokens
    quick = harness.submit(request([3], max_tokens=3))
    neighbour = harness.submit(request([4], max_tokens=3, priority=1))
    assert order(harness, [slow, quick, neighbour]) == [quick, slow, neighbour]
    assert slow.on_event.tokens[: len(output_ids)] == output_ids
    assert slow.on_event.tokens == greedy(model, [1, 2], 40)[0]


def test_tenants_take_turns_even_if_one_sends_many_requests(model):
    harness = SchedulerHarness(model, max_num_seqs=2)
    busy = [harness.submit(request([number, 1], max_tokens=6, tenant="busy")) for number in range(6)]
    late = harness.submit(request([9], max_tokens=6, tenant="late"))
    ended = order(harness, [*busy, late])
    assert ended.index(late) <= 3, "before requests that came earlier"


def test_a_request_does_not_preempt_another_tenant(model):
    harness = SchedulerHarness(model, max_num_seqs=1)
    mine = harness.submit(request([1], max_tokens=30, tenant="mine", priority=9))
    harness.step(3)
    theirs = harness.submit(request([2], max_tokens=3, tenant="theirs", priority=-9))
    assert order(harness, [mine, theirs]) == [mine, theirs]


def test_short_prompts_do_not_starve_a_long_one(model):
    harness = SchedulerHarness(make_decoder(context=3 * MAX_PREFILL_TOKENS), max_num_seqs=40, num_blocks=400)
    long = harness.submit(request(prompts([2 * MAX_PREFILL_TOKENS])[0], max_tokens=1))
    for number in range(30):
        harness.submit(request(prompts([200], seed=number)[0], max_tokens=1))
        harness.step()
        if long.on_event.finish:
            break
    assert long.on_event.finish, "it gets half of every pass"
    assert number <= 8


def test_a_wide_beam_search_neither_blocks_other_requests_nor_starves():
    model = make_decoder()
    harness = SchedulerHarness(model, max_num_seqs=8, num_blocks=200)
    talking = [harness.submit(request([number], max_tokens=30)) for number in range(4)]
    harness.step(3)
    wide = harness.submit(request([9], params=GenerationParams(num_beams=8), max_tokens=4))
    late = harness.submit(request([5], max_tokens=3))
    harness.step(6)
    assert late.on_event.finish == "length", "it fits beside the running ones"
    assert not wide.on_event.events
    number = 0
    while not wide.on_event.finish:
        harness.submit(request([number % VOCAB], max_tokens=8))
        number += 1
        harness.step()
        assert number < 300
    harness.finish()
    assert all(group.on_event.finish == "length" for group in talking)


def test_priority_does_not_preempt_other_tenants_for_memory(model):
    harness = SchedulerHarness(model, max_num_seqs=4, num_blocks=10)
    first = harness.submit(request([1, 2, 3], max_tokens=120, tenant="patient", priority=50))
    harness.step(3)
    pushing = [
        harness.submit(request([number, 7], max_tokens=60, tenant="pushing", priority=-100)) for number in range(3)
    ]
    while not first.on_event.finish:
        harness.step()
        assert first in harness.scheduler.queues.running or first.on_event.finish
    harness.finish()
    assert first.on_event.tokens == greedy(model, [1, 2, 3], 120)[0]
    assert all(group.on_event.finish == "length" for group in pushing)
