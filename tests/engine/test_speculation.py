"""Drafts: found where the last words came up before, checked only where that pays, and never seen in an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import VOCAB, Desk, greedy, make, prompts, request

from turnwise.core.parameters import GenerationParams
from turnwise.engine.native.library import library
from turnwise.engine.speculation import speculative_decoder as drafting
from turnwise.engine.speculation.cost_model import RETRY_INTERVAL, SIZES, CostModel
from turnwise.engine.speculation.draft_proposer import (
    KEY,
    LONGEST,
    LONGEST_MATCH,
    MAX_CACHED_TOKENS,
    MAX_TOKENS_PER_SCOPE,
    MIN_DRAFTS_BEFORE_STOP,
    SCOPES,
    Draft,
    DraftProposer,
    NGramIndex,
    SuffixCache,
)

tokens = st.lists(st.integers(0, 2), max_size=60)


def naive(corpus, ids):
    """Where the last tokens of `ids` came up last in `corpus` with something after them."""
    for end in range(len(corpus) - 1, KEY - 1, -1):
        if len(ids) >= KEY and corpus[end - KEY : end] == ids[-KEY:]:
            match = KEY
            while match < min(LONGEST_MATCH, end, len(ids)) and corpus[end - match - 1] == ids[-match - 1]:
                match += 1
            return Draft(corpus[end : end + LONGEST], match)
    return Draft((), 0)


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(tokens, max_size=5), ids=tokens)
def test_a_draft_is_what_followed_the_latest_match(parts, ids):
    index = NGramIndex()
    for part in parts:
        index.extend(part)
    assert index.find(ids) == naive(index.ids, ids)


@settings(max_examples=100, deadline=None)
@given(answers=st.lists(tokens, max_size=6), ids=tokens)
def test_of_several_answers_the_latest_that_matches_is_taken(answers, ids):
    kept = SuffixCache()
    for answer in answers:
        kept.learn(answer)
    found = [draft for answer in reversed(answers) if (draft := naive(answer, ids)).ids]
    assert kept.find(ids) == (found[0] if found else Draft((), 0))


def test_old_answers_and_scopes_make_room():
    kept = SuffixCache()
    for number in range(0, 3 * MAX_TOKENS_PER_SCOPE, 100):
        kept.learn(list(range(number, number + 100)))
    assert kept.tokens <= MAX_TOKENS_PER_SCOPE
    assert len(kept._holding) <= MAX_TOKENS_PER_SCOPE
    assert kept.find([5, 6, 7]).ids == ()
    drafts = DraftProposer()
    for number in range(2 * SCOPES):
        drafts.learn(str(number), [1, 2, 3], [4, 5])
    assert len(drafts._answers) == SCOPES
    for number in range(30):
        drafts.learn(f"long {number}", [1, 2, 3], list(range(MAX_TOKENS_PER_SCOPE - 3)))
    assert sum(answers.tokens for answers in drafts._answers.values()) == drafts._tokens <= MAX_CACHED_TOKENS


def test_scopes_do_not_see_each_others_answers():
    drafts = DraftProposer()
    drafts.learn("mine", [1, 2, 3], [4, 5, 6])
    assert drafts.draft_state("mine", [9, 1, 2, 3], ()).find([9, 1, 2, 3], 8).ids == [4, 5, 6]
    assert drafts.draft_state("yours", [9, 1, 2, 3], ()).find([9, 1, 2, 3], 8).ids == ()


def test_a_prediction_comes_first_and_is_found_again_after_a_change():
    draft_state = DraftProposer().draft_state("", [1, 2, 3], [10, 11, 12, 13, 14, 15, 16])
    found = draft_state.find([1, 2, 3], 4)
    assert (found.ids, found.predicted) == ([10, 11, 12, 13], True)
    assert draft_state.find([1, 2, 3, 10, 99], 4).ids == ()
    assert draft_state.find([1, 2, 3, 10, 99, 11, 12, 13], 4).ids == [14, 15, 16]


def test_a_chat_whose_drafts_are_nearly_all_wrong_is_left_in_peace():
    talk = [1, 2, 3, 4, 1, 2, 3]
    draft_state = DraftProposer().draft_state("", talk, ())
    for _ in range(MIN_DRAFTS_BEFORE_STOP):
        assert draft_state.find(talk, 4).ids
        draft_state.saw(0, 1)
    assert draft_state.find(talk, 4).ids == ()


# What pays


def learned(seconds_of):
    cost = CostModel()
    for rows in SIZES:
        cost.record_latency(rows, seconds_of(rows))
    return cost


LONG = (LONGEST, 0.9)


def test_rows_that_cost_nothing_are_filled_and_rows_that_cost_their_share_are_not():
    assert learned(lambda rows: 1.0).lengths(1, [LONG]) == [LONGEST]
    assert learned(lambda rows: 1.0 + rows).lengths(1, [(0, 0.0)]) == [0]
    assert learned(float).lengths(8, [LONG] * 8) == [0] * 8


def test_the_more_trusted_draft_gets_the_rows_there_are():
    cost = learned(lambda rows: 1.0 if rows <= 12 else 10.0)
    assert cost.lengths(2, [(LONGEST, 0.05), LONG]) == [0, 10]


def test_a_draft_is_tried_again_now_and_then():
    cost = learned(float)
    asked = [cost.lengths(1, [LONG])[0] for _ in range(2 * RETRY_INTERVAL)]
    assert sum(length > 0 for length in asked) == 2


def test_a_chat_is_soon_judged_by_its_own_drafts():
    draft_state = DraftProposer().draft_state("", [1, 2, 3], ())
    assert draft_state.acceptance_rate(0.8) == pytest.approx(0.8)
    for _ in range(4):
        draft_state.saw(0, 1)
    assert draft_state.acceptance_rate(0.8) < 0.4


def test_what_was_seen_is_believed_and_forgotten():
    cost = CostModel()
    for _ in range(100):
        cost.saw(LONGEST_MATCH, 0, 10)
    assert cost.acceptance_rate(LONGEST_MATCH) < 0.02
    assert cost.acceptance_rate(4) > 0.5
    for _ in range(1000):
        cost.saw(LONGEST_MATCH, 10, 10)
    assert cost.acceptance_rate(LONGEST_MATCH) > 0.9


# What is said


@pytest.fixture
def eager(monkeypatch):
    """Every draft is checked to its end."""
    if library() is None:
        pytest.skip("only the compiled library checks drafts")
    monkeypatch.setattr(CostModel, "lengths", lambda self, rows, drafts: [length for length, _ in drafts])
    monkeypatch.setattr(drafting, "VAIN", 10**9)


def test_while_nothing_comes_of_looking_it_is_done_only_now_and_then(model, monkeypatch):
    looked = []
    monkeypatch.setattr(CostModel, "lengths", lambda self, rows, drafts: looked.append(1) or [0] * len(drafts))
    desk = Desk(model)
    said = greedy(model, [4, 5], 100)[0]
    desk.submit(request([4, 5], most=100, prediction=said))
    desk.finish()
    assert drafting.VAIN <= len(looked) <= drafting.VAIN + (100 - drafting.VAIN) // drafting.SELDOM + 1


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
        chat = desk.submit(request([7, 3, 9, 2], params=params, most=60))
        desk.finish()
        said.append((chat.on_event.tokens, desk.passes - before))
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
    chats = [desk.submit(one) for one in asked]
    desk.finish()
    monkeypatch.undo()
    monkeypatch.setattr(CostModel, "lengths", lambda self, rows, drafts: [0] * len(drafts))
    for one, chat in zip(asked, chats, strict=True):
        plain = Desk(model)
        alone = plain.submit(one)
        plain.finish()
        assert (chat.on_event.tokens, chat.on_event.finish) == (alone.on_event.tokens, alone.on_event.finish)


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
    assert (other.stats.accepted_prediction_tokens, other.stats.rejected_prediction_tokens) == (4, LONGEST - 4)


def test_a_draft_ends_with_the_answer(model, eager):
    said = greedy(model, [4, 5], 30)[0]
    stop = said[11]
    desk = Desk(model)
    chat = desk.submit(request([4, 5], most=30, prediction=said, stop=[stop]))
    desk.finish()
    assert chat.on_event.tokens == said[: said.index(stop)]
    assert chat.on_event.finish == "stop"
    short = desk.submit(request([4, 5], most=7, prediction=said))
    desk.finish()
    assert short.on_event.tokens == said[:7]


def test_nobody_gives_way_to_a_guess(model, eager):
    """Memory for a draft is taken from what is free."""
    desk = Desk(model, slots=2, blocks=6)
    said = greedy(model, [4, 5], 40)[0]
    chats = [desk.submit(request([4, 5], most=40, prediction=said, scope=scope)) for scope in "ab"]
    while not desk.scheduler.idle:
        desk.step()
        assert not desk.scheduler.seats.waiting
    assert [chat.on_event.tokens for chat in chats] == [said, said]
