"""What chats share: what was read, memory and turns. Nothing of it shows in what they say."""

import pytest
from reference import VOCAB, Desk, greedy, make, prompts, request

from turnwise.core.parameters import GenerationParams
from turnwise.engine.scheduling.batch_builder import MAX_PREFILL_TOKENS

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")


@pytest.fixture(scope="module")
def model():
    return make(context=512)


# What was read


def test_the_next_turn_reads_only_what_is_new(model):
    desk = Desk(model)
    talk, before = prompts([100])[0], [0]
    for turn in range(6):
        group = desk.submit(request(talk, most=10))
        before_tokens = desk.tokens
        desk.finish()
        assert group.on_event.tokens == greedy(model, talk, 10)[0]
        cached = group.on_event.events[0].stats.cached_tokens
        assert cached == len(before) - 1, "all but the last token, which nobody had to read"
        assert desk.tokens - before_tokens == len(talk) - cached + 9, "nothing is read twice"
        before = [*talk, *group.on_event.tokens]
        talk = [*before, *prompts([7], seed=turn)[0]]


def test_an_edited_and_a_repeated_turn_share_what_came_before(model):
    desk = Desk(model)
    first, second = prompts([80, 60])
    desk.submit(request([*first, *second], most=3))
    desk.finish()
    retried = desk.submit(request([*first, *second], params=GenerationParams(seed=1), most=3))
    edited = desk.submit(request([*first, *second[:10], 1, 2, 3], most=3))
    desk.finish()
    assert retried.stats.cached_tokens == 139
    assert edited.stats.cached_tokens == 90
    assert edited.on_event.tokens == greedy(model, [*first, *second[:10], 1, 2, 3], 3)[0]


def test_several_who_begin_alike_at_the_same_time_read_it_once(model):
    desk = Desk(model, slots=8)
    (system,) = prompts([160])
    asked = [request([*system, number, number], most=4) for number in range(8)]
    groups = [desk.submit(one) for one in asked]
    desk.finish()
    assert desk.tokens == 160 + 8 * (2 + 3)
    for one, group in zip(asked, groups, strict=True):
        assert group.on_event.tokens == greedy(model, one.prompt_ids, 4)[0]


def test_another_scope_reads_for_itself(model):
    desk = Desk(model)
    (talk,) = prompts([90])
    for scope in ("one", "two", "one"):
        group = desk.submit(request(talk, most=2, scope=scope))
        desk.finish()
    assert group.stats.cached_tokens == 89
    other = desk.submit(request(talk, most=2, scope="three"))
    desk.finish()
    assert other.stats.cached_tokens == 0


@pytest.mark.parametrize("params", [GenerationParams(temperature=0), GenerationParams(seed=5, temperature=1.3)])
def test_an_answer_is_the_same_whether_its_beginning_was_read_before_or_not(model, params):
    (talk,) = prompts([70])
    fresh, warm = Desk(model), Desk(model)
    warm.submit(request([*talk, 5, 5], most=30))
    warm.finish()
    answers = []
    for desk in (fresh, warm):
        group = desk.submit(request(talk, params=params, most=40))
        desk.finish()
        answers.append(group.on_event.tokens)
    assert answers[0] == answers[1]
    assert group.stats.cached_tokens == 69


def test_reports_on_a_prompt_are_whole_however_much_of_it_was_read_before(model):
    desk = Desk(model)
    (talk,) = prompts([60])
    params = GenerationParams(temperature=0, logprobs=True)
    reports = []
    for _ in range(2):
        group = desk.submit(request(talk, params=params, most=0, prompt_output="logprobs"))
        desk.finish()
        reports.append(group.on_event.events[0].prompt_logprobs)
        assert group.stats.cached_tokens == 0
    assert reports[0] == reports[1]
    assert len(reports[0]) == 59


# Memory


@pytest.mark.parametrize("blocks", [8, 12, 20])
def test_chats_that_run_out_of_memory_take_turns_and_lose_nothing(model, blocks):
    """Four chats grow to six blocks each."""
    desk = Desk(model, slots=4, blocks=blocks)
    asked = [request(p, params=params, most=80) for p, params in zip(prompts([10, 11, 12, 13]), PARAMS, strict=True)]
    groups = [desk.submit(one) for one in asked]
    preempted = 0
    while not desk.scheduler.is_idle:
        before = set(desk.scheduler.queues.running)
        desk.step()
        preempted += any(group in desk.scheduler.queues.waiting for group in before)
    assert preempted
    roomy = Desk(model, slots=4)
    for one, group in zip(asked, groups, strict=True):
        alone = roomy.submit(one)
        roomy.finish()
        assert group.on_event.tokens == alone.on_event.tokens
        assert group.on_event.finish == "length"


PARAMS = [GenerationParams(temperature=0), *(GenerationParams(seed=seed) for seed in range(3))]


def test_what_is_kept_in_case_somebody_comes_makes_room(model):
    desk = Desk(model, slots=1, blocks=10)
    for number in range(6):
        (talk,) = prompts([100], seed=number)
        group = desk.submit(request(talk, most=20))
        desk.finish()
        assert group.on_event.tokens == greedy(model, talk, 20)[0]


# Turns


def order(desk, groups):
    """The chats in the order in which they end, one running at a time."""
    left, ended = list(groups), []
    while left:
        desk.step()
        done = [group for group in left if group.on_event.finish]
        ended += done
        left = [group for group in left if group not in done]
    return ended


def test_the_more_urgent_go_first(model):
    desk = Desk(model, slots=1)
    groups = [
        desk.submit(request([number], most=3, priority=priority)) for number, priority in enumerate([0, 5, -2, 0])
    ]
    assert order(desk, groups) == [groups[2], groups[0], groups[3], groups[1]]


def test_the_more_urgent_take_the_slot_of_the_less_urgent_who_goes_on_later(model):
    desk = Desk(model, slots=1)
    slow = desk.submit(request([1, 2], most=40, priority=1))
    desk.step(5)
    said = slow.on_event.tokens
    quick = desk.submit(request([3], most=3))
    other = desk.submit(request([4], most=3, priority=1))
    assert order(desk, [slow, quick, other]) == [quick, slow, other]
    assert slow.on_event.tokens[: len(said)] == said
    assert slow.on_event.tokens == greedy(model, [1, 2], 40)[0]


def test_tenants_take_turns_however_much_one_of_them_asks(model):
    desk = Desk(model, slots=2)
    busy = [desk.submit(request([number, 1], most=6, tenant="busy")) for number in range(6)]
    late = desk.submit(request([9], most=6, tenant="late"))
    ended = order(desk, [*busy, late])
    assert ended.index(late) <= 3, "not after all that were there before it"


def test_nobody_takes_the_slot_of_another_tenant(model):
    desk = Desk(model, slots=1)
    mine = desk.submit(request([1], most=30, tenant="mine", priority=9))
    desk.step(3)
    theirs = desk.submit(request([2], most=3, tenant="theirs", priority=-9))
    assert order(desk, [mine, theirs]) == [mine, theirs]


def test_a_long_prompt_is_not_put_off_for_ever_by_short_ones(model):
    desk = Desk(make(context=3 * MAX_PREFILL_TOKENS), slots=40, blocks=400)
    long = desk.submit(request(prompts([2 * MAX_PREFILL_TOKENS])[0], most=1))
    for number in range(30):
        desk.submit(request(prompts([200], seed=number)[0], most=1))
        desk.step()
        if long.on_event.finish:
            break
    assert long.on_event.finish, "half of every pass was its"
    assert number <= 8


def test_a_wide_search_is_neither_in_everybodys_way_nor_put_off_for_ever():
    model = make()
    desk = Desk(model, slots=8, blocks=200)
    talking = [desk.submit(request([number], most=30)) for number in range(4)]
    desk.step(3)
    wide = desk.submit(request([9], params=GenerationParams(num_beams=8), most=4))
    late = desk.submit(request([5], most=3))
    desk.step(6)
    assert late.on_event.finish == "length", "there was a slot for it"
    assert not wide.on_event.events
    number = 0
    while not wide.on_event.finish:
        desk.submit(request([number % VOCAB], most=8))
        number += 1
        desk.step()
        assert number < 300
    desk.finish()
    assert all(group.on_event.finish == "length" for group in talking)


def test_priority_takes_no_memory_from_other_tenants(model):
    """The one who came first keeps it, however urgent others say they are."""
    desk = Desk(model, slots=4, blocks=10)
    first = desk.submit(request([1, 2, 3], most=120, tenant="patient", priority=50))
    desk.step(3)
    pushing = [desk.submit(request([number, 7], most=60, tenant="pushing", priority=-100)) for number in range(3)]
    while not first.on_event.finish:
        desk.step()
        assert first in desk.scheduler.queues.running or first.on_event.finish
    desk.finish()
    assert first.on_event.tokens == greedy(model, [1, 2, 3], 120)[0]
    assert all(group.on_event.finish == "length" for group in pushing)
