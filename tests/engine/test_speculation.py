"""Drafts: found where the last words came up before, checked only where that pays, and never seen in an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import VOCAB, Desk, greedy, make, prompts, request

from turnwise.core.parameters import GenerationParams
from turnwise.engine.native.library import library
from turnwise.engine.speculation import speculative_decoder as drafting
from turnwise.engine.speculation.cost_model import RETRY_INTERVAL, ROW_BUCKETS, CostModel
from turnwise.engine.speculation.draft_proposer import (
    MATCH_LENGTH,
    MAX_CACHED_TOKENS,
    MAX_DRAFT_TOKENS,
    MAX_MATCH_LENGTH,
    MAX_SCOPES,
    MAX_TOKENS_PER_SCOPE,
    MIN_DRAFTS_BEFORE_STOP,
    Draft,
    DraftProposer,
    NGramIndex,
    SuffixCache,
)

tokens = st.lists(st.integers(0, 2), max_size=60)


def naive(corpus, ids):
    """Where the last tokens of `ids` came up last in `corpus` with something after them."""
    for end in range(len(corpus) - 1, MATCH_LENGTH - 1, -1):
        if len(ids) >= MATCH_LENGTH and corpus[end - MATCH_LENGTH : end] == ids[-MATCH_LENGTH:]:
            match = MATCH_LENGTH
            while match < min(MAX_MATCH_LENGTH, end, len(ids)) and corpus[end - match - 1] == ids[-match - 1]:
                match += 1
            return Draft(corpus[end : end + MAX_DRAFT_TOKENS], match)
    return Draft((), 0)


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(tokens, max_size=5), ids=tokens)
def test_a_draft_is_what_followed_the_latest_match(parts, ids):
    index = NGramIndex()
    for part in parts:
        index.extend(part)
    assert index.lookup(ids) == naive(index.ids, ids)


@settings(max_examples=100, deadline=None)
@given(answers=st.lists(tokens, max_size=6), ids=tokens)
def test_of_several_answers_the_latest_that_matches_is_taken(answers, ids):
    kept = SuffixCache()
    for answer in answers:
        kept.add(answer)
    found = [draft for answer in reversed(answers) if (draft := naive(answer, ids)).ids]
    assert kept.lookup(ids) == (found[0] if found else Draft((), 0))


def test_old_answers_and_scopes_make_room():
    kept = SuffixCache()
    for number in range(0, 3 * MAX_TOKENS_PER_SCOPE, 100):
        kept.add(list(range(number, number + 100)))
    assert kept.num_tokens <= MAX_TOKENS_PER_SCOPE
    assert len(kept._latest) <= MAX_TOKENS_PER_SCOPE
    assert kept.lookup([5, 6, 7]).ids == ()
    drafts = DraftProposer()
    for number in range(2 * MAX_SCOPES):
        drafts.add_output(str(number), [1, 2, 3], [4, 5])
    assert len(drafts._by_scope) == MAX_SCOPES
    for number in range(30):
        drafts.add_output(f"long {number}", [1, 2, 3], list(range(MAX_TOKENS_PER_SCOPE - 3)))
    assert sum(answers.num_tokens for answers in drafts._by_scope.values()) == drafts._num_tokens <= MAX_CACHED_TOKENS


def test_scopes_do_not_see_each_others_answers():
    drafts = DraftProposer()
    drafts.add_output("mine", [1, 2, 3], [4, 5, 6])
    assert drafts.start_sequence("mine", [9, 1, 2, 3], ()).propose([9, 1, 2, 3], 8).ids == [4, 5, 6]
    assert drafts.start_sequence("yours", [9, 1, 2, 3], ()).propose([9, 1, 2, 3], 8).ids == ()


def test_a_prediction_comes_first_and_is_found_again_after_a_change():
    draft_state = DraftProposer().start_sequence("", [1, 2, 3], [10, 11, 12, 13, 14, 15, 16])
    found = draft_state.propose([1, 2, 3], 4)
    assert (found.ids, found.is_prediction) == ([10, 11, 12, 13], True)
    assert draft_state.propose([1, 2, 3, 10, 99], 4).ids == ()
    assert draft_state.propose([1, 2, 3, 10, 99, 11, 12, 13], 4).ids == [14, 15, 16]


def test_a_chat_whose_drafts_are_nearly_all_wrong_is_left_in_peace():
    talk = [1, 2, 3, 4, 1, 2, 3]
    draft_state = DraftProposer().start_sequence("", talk, ())
    for _ in range(MIN_DRAFTS_BEFORE_STOP):
        assert draft_state.propose(talk, 4).ids
        draft_state.record_acceptance(0, 1)
    assert draft_state.propose(talk, 4).ids == ()


# What pays


def learned(seconds_of):
    cost = CostModel()
    for rows in ROW_BUCKETS:
        cost.record_latency(rows, seconds_of(rows))
    return cost


LONG = (MAX_DRAFT_TOKENS, 0.9)


def test_rows_that_cost_nothing_are_filled_and_rows_that_cost_their_share_are_not():
    assert learned(lambda rows: 1.0).draft_lengths(1, [LONG]) == [MAX_DRAFT_TOKENS]
    assert learned(lambda rows: 1.0 + rows).draft_lengths(1, [(0, 0.0)]) == [0]
    assert learned(float).draft_lengths(8, [LONG] * 8) == [0] * 8


def test_the_more_trusted_draft_gets_the_rows_there_are():
    cost = learned(lambda rows: 1.0 if rows <= 12 else 10.0)
    assert cost.draft_lengths(2, [(MAX_DRAFT_TOKENS, 0.05), LONG]) == [0, 10]


def test_a_draft_is_tried_again_now_and_then():
    cost = learned(float)
    asked = [cost.draft_lengths(1, [LONG])[0] for _ in range(2 * RETRY_INTERVAL)]
    assert sum(length > 0 for length in asked) == 2


def test_a_chat_is_soon_judged_by_its_own_drafts():
    draft_state = DraftProposer().start_sequence("", [1, 2, 3], ())
    assert draft_state.acceptance_rate(0.8) == pytest.approx(0.8)
    for _ in range(4):
        draft_state.record_acceptance(0, 1)
    assert draft_state.acceptance_rate(0.8) < 0.4


def test_what_was_seen_is_believed_and_forgotten():
    cost = CostModel()
    for _ in range(100):
        cost.record_acceptance(MAX_MATCH_LENGTH, 0, 10)
    assert cost.acceptance_rate(MAX_MATCH_LENGTH) < 0.02
    assert cost.acceptance_rate(4) > 0.5
    for _ in range(1000):
        cost.record_acceptance(MAX_MATCH_LENGTH, 10, 10)
    assert cost.acceptance_rate(MAX_MATCH_LENGTH) > 0.9


# What is said


@pytest.fixture
def eager(monkeypatch):
    """Every draft is checked to its end."""
    if library() is None:
        pytest.skip("only the compiled library checks drafts")
    monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: [length for length, _ in drafts])
    monkeypatch.setattr(drafting, "IDLE_STEPS", 10**9)


def test_while_nothing_comes_of_looking_it_is_done_only_now_and_then(model, monkeypatch):
    looked = []
    monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: looked.append(1) or [0] * len(drafts))
    desk = Desk(model)
    said = greedy(model, [4, 5], 100)[0]
    desk.submit(request([4, 5], most=100, prediction=said))
    desk.finish()
    assert (
        drafting.IDLE_STEPS
        <= len(looked)
        <= drafting.IDLE_STEPS + (100 - drafting.IDLE_STEPS) // drafting.IDLE_INTERVAL + 1
    )


@pytest.fixture(scope="module")
def model():
    return make(context=256)


HOT = GenerationParams(seed=3, temperature=0.9)


@pytest.mark.parametrize("params", [GenerationParams(temperature=0), HOT], ids=["greedy", "drawn"])
def test_an_answer_that_was_given_before_takes_few_passes_and_is_the_same(model, eager, params):
    desk = Desk(model)
    said = []
    for _ in range(3):
        before = desk.passes
        group = desk.submit(request([7, 3, 9, 2], params=params, most=60))
        desk.finish()
        said.append((group.on_event.tokens, desk.passes - before))
    assert said[0][0] == said[1][0] == said[2][0]
    assert said[0][1] == 60 if params is HOT else said[0][1] <= 60
    assert said[1][1] == said[2][1] <= 6


def test_drafts_change_no_answer(model, eager, monkeypatch):
    asked = [
        request(prompt, params=params, most=40, prediction=prediction)
        for prompt in prompts([3, 20, 41])
        for params in (
            GenerationParams(temperature=0, repetition_penalty=1.2), GenerationParams(seed=1, frequency_penalty=0.5),
            GenerationParams(seed=2, temperature=0.2), GenerationParams(seed=4, no_repeat_ngram_size=3),
        )
        for prediction in ((), tuple(greedy(model, prompt, 30)[0]), (5,) * 20)
    ]  # fmt: skip
    desk = Desk(model, slots=6)
    groups = [desk.submit(one) for one in asked]
    desk.finish()
    monkeypatch.undo()
    monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: [0] * len(drafts))
    for one, group in zip(asked, groups, strict=True):
        plain = Desk(model)
        alone = plain.submit(one)
        plain.finish()
        assert (group.on_event.tokens, group.on_event.finish) == (alone.on_event.tokens, alone.on_event.finish)


def test_a_prediction_is_counted_as_it_was(model, eager):
    said = greedy(model, [4, 5], 30)[0]
    desk = Desk(model)
    right = desk.submit(request([4, 5], most=30, prediction=said))
    desk.finish()
    assert right.stats.accepted_prediction_tokens == 30 - desk.passes, "one token of every pass is nobody's guess"
    assert desk.passes == 3
    assert right.stats.rejected_prediction_tokens == 0
    half = [*said[:5], *((token + 1) % VOCAB for token in said[5:])]
    desk = Desk(model)
    other = desk.submit(request([4, 5], most=30, prediction=half))
    desk.finish()
    assert other.on_event.tokens == said
    assert (other.stats.accepted_prediction_tokens, other.stats.rejected_prediction_tokens) == (4, MAX_DRAFT_TOKENS - 4)


def test_a_draft_ends_with_the_answer(model, eager):
    said = greedy(model, [4, 5], 30)[0]
    stop = said[11]
    desk = Desk(model)
    group = desk.submit(request([4, 5], most=30, prediction=said, stop=[stop]))
    desk.finish()
    assert group.on_event.tokens == said[: said.index(stop)]
    assert group.on_event.finish == "stop"
    short = desk.submit(request([4, 5], most=7, prediction=said))
    desk.finish()
    assert short.on_event.tokens == said[:7]


def test_nobody_gives_way_to_a_guess(model, eager):
    """Memory for a draft is taken from what is free."""
    desk = Desk(model, slots=2, blocks=6)
    said = greedy(model, [4, 5], 40)[0]
    groups = [desk.submit(request([4, 5], most=40, prediction=said, scope=scope)) for scope in "ab"]
    while not desk.scheduler.is_idle:
        desk.step()
        assert not desk.scheduler.queues.waiting
    assert [group.on_event.tokens for group in groups] == [said, said]
