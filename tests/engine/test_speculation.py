"""Speculative decoding: draft lookup, the cost model, and unchanged answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import VOCAB, SchedulerHarness, greedy, make_decoder, prompts, request

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
    """Reference lookup: the continuation of the latest occurrence of the last tokens of `ids` in `corpus`."""
    for end in range(len(corpus) - 1, MATCH_LENGTH - 1, -1):
        if len(ids) >= MATCH_LENGTH and corpus[end - MATCH_LENGTH : end] == ids[-MATCH_LENGTH:]:
            match = MATCH_LENGTH
            while match < min(MAX_MATCH_LENGTH, end, len(ids)) and corpus[end - match - 1] == ids[-match - 1]:
                match += 1
            return Draft(corpus[end : end + MAX_DRAFT_TOKENS], match)
    return Draft((), 0)


@settings(max_examples=200, deadline=None)
@given(token_lists=st.lists(tokens, max_size=5), ids=tokens)
def test_a_draft_is_the_continuation_of_the_latest_match(token_lists, ids):
    index = NGramIndex()
    for token_ids in token_lists:
        index.extend(token_ids)
    assert index.lookup(ids) == naive(index.ids, ids)


@settings(max_examples=100, deadline=None)
@given(answers=st.lists(tokens, max_size=6), ids=tokens)
def test_the_latest_matching_output_gives_the_draft(answers, ids):
    cache = SuffixCache()
    for answer in answers:
        cache.add(answer)
    drafts = [draft for answer in reversed(answers) if (draft := naive(answer, ids)).ids]
    assert cache.lookup(ids) == (drafts[0] if drafts else Draft((), 0))


def test_old_outputs_and_scopes_are_evicted():
    cache = SuffixCache()
    for number in range(0, 3 * MAX_TOKENS_PER_SCOPE, 100):
        cache.add(list(range(number, number + 100)))
    assert cache.num_tokens <= MAX_TOKENS_PER_SCOPE
    assert len(cache._latest) <= MAX_TOKENS_PER_SCOPE
    assert cache.lookup([5, 6, 7]).ids == ()
    drafts = DraftProposer()
    for number in range(2 * MAX_SCOPES):
        drafts.add_output(str(number), [1, 2, 3], [4, 5])
    assert len(drafts._by_scope) == MAX_SCOPES
    for number in range(30):
        drafts.add_output(f"long {number}", [1, 2, 3], list(range(MAX_TOKENS_PER_SCOPE - 3)))
    assert sum(answers.num_tokens for answers in drafts._by_scope.values()) == drafts._num_tokens <= MAX_CACHED_TOKENS


def test_scopes_share_no_outputs():
    drafts = DraftProposer()
    drafts.add_output("mine", [1, 2, 3], [4, 5, 6])
    assert drafts.start_sequence("mine", [9, 1, 2, 3], ()).propose([9, 1, 2, 3], 8).ids == [4, 5, 6]
    assert drafts.start_sequence("yours", [9, 1, 2, 3], ()).propose([9, 1, 2, 3], 8).ids == ()


def test_a_prediction_has_precedence_and_is_matched_again_after_a_deviation():
    draft_state = DraftProposer().start_sequence("", [1, 2, 3], [10, 11, 12, 13, 14, 15, 16])
    drafts = draft_state.propose([1, 2, 3], 4)
    assert (drafts.ids, drafts.is_prediction) == ([10, 11, 12, 13], True)
    assert draft_state.propose([1, 2, 3, 10, 99], 4).ids == ()
    assert draft_state.propose([1, 2, 3, 10, 99, 11, 12, 13], 4).ids == [14, 15, 16]


def test_a_sequence_with_a_low_acceptance_rate_gets_no_more_drafts():
    conversation = [1, 2, 3, 4, 1, 2, 3]
    draft_state = DraftProposer().start_sequence("", conversation, ())
    for _ in range(MIN_DRAFTS_BEFORE_STOP):
        assert draft_state.propose(conversation, 4).ids
        draft_state.record_acceptance(0, 1)
    assert draft_state.propose(conversation, 4).ids == ()


# Cost model


def cost_model_of(seconds_of):
    cost = CostModel()
    for rows in ROW_BUCKETS:
        cost.record_latency(rows, seconds_of(rows))
    return cost


LONG = (MAX_DRAFT_TOKENS, 0.9)


def test_draft_rows_are_used_only_if_they_are_cheaper_than_a_pass():
    assert cost_model_of(lambda rows: 1.0).draft_lengths(1, [LONG]) == [MAX_DRAFT_TOKENS]
    assert cost_model_of(lambda rows: 1.0 + rows).draft_lengths(1, [(0, 0.0)]) == [0]
    assert cost_model_of(float).draft_lengths(8, [LONG] * 8) == [0] * 8


def test_the_draft_with_the_higher_acceptance_rate_gets_the_rows():
    cost = cost_model_of(lambda rows: 1.0 if rows <= 12 else 10.0)
    assert cost.draft_lengths(2, [(MAX_DRAFT_TOKENS, 0.05), LONG]) == [0, 10]


def test_drafts_are_retried_at_intervals():
    cost = cost_model_of(float)
    generation_requests = [cost.draft_lengths(1, [LONG])[0] for _ in range(2 * RETRY_INTERVAL)]
    assert sum(length > 0 for length in generation_requests) == 2


def test_the_acceptance_rate_of_a_sequence_soon_depends_on_its_own_drafts():
    draft_state = DraftProposer().start_sequence("", [1, 2, 3], ())
    assert draft_state.acceptance_rate(0.8) == pytest.approx(0.8)
    for _ in range(4):
        draft_state.record_acceptance(0, 1)
    assert draft_state.acceptance_rate(0.8) < 0.4


def test_the_acceptance_rate_follows_recent_observations():
    cost = CostModel()
    for _ in range(100):
        cost.record_acceptance(MAX_MATCH_LENGTH, 0, 10)
    assert cost.acceptance_rate(MAX_MATCH_LENGTH) < 0.02
    assert cost.acceptance_rate(4) > 0.5
    for _ in range(1000):
        cost.record_acceptance(MAX_MATCH_LENGTH, 10, 10)
    assert cost.acceptance_rate(MAX_MATCH_LENGTH) > 0.9


# Answers


@pytest.fixture
def eager(monkeypatch):
    """Verify every draft completely, even if it is slower."""
    if library() is None:
        pytest.skip("only the compiled library verifies drafts")
    monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: [length for length, _ in drafts])
    monkeypatch.setattr(drafting, "IDLE_STEPS", 10**9)


def test_drafting_pauses_while_no_drafts_are_used(model, monkeypatch):
    looked = []
    monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: looked.append(1) or [0] * len(drafts))
    harness = SchedulerHarness(model)
    output_ids = greedy(model, [4, 5], 100)[0]
    harness.submit(request([4, 5], max_tokens=100, prediction=output_ids))
    harness.finish()
    assert (
        drafting.IDLE_STEPS
        <= len(looked)
        <= drafting.IDLE_STEPS + (100 - drafting.IDLE_STEPS) // drafting.IDLE_INTERVAL + 1
    )


@pytest.fixture(scope="module")
def model():
    return make_decoder(context=256)


HOT = GenerationParams(seed=3, temperature=0.9)


@pytest.mark.parametrize("params", [GenerationParams(temperature=0), HOT], ids=["greedy", "drawn"])
def test_a_repeated_answer_takes_few_passes_and_is_the_same(model, eager, params):
    harness = SchedulerHarness(model)
    output_ids = []
    for _ in range(3):
        before = harness.passes
        group = harness.submit(request([7, 3, 9, 2], params=params, max_tokens=60))
        harness.finish()
        output_ids.append((group.on_event.tokens, harness.passes - before))
    assert output_ids[0][0] == output_ids[1][0] == output_ids[2][0]
    assert output_ids[0][1] == 60 if params is HOT else output_ids[0][1] <= 60
    assert output_ids[1][1] == output_ids[2][1] <= 6


@pytest.mark.costly
def test_drafts_do_not_change_answers(model, eager, monkeypatch):
    generation_requests = [
        request(prompt, params=params, max_tokens=40, prediction=prediction)
        for prompt in prompts([3, 20, 41])
        for params in (
            GenerationParams(temperature=0, repetition_penalty=1.2), GenerationParams(seed=1, frequency_penalty=0.5),
            GenerationParams(seed=2, temperature=0.2), GenerationParams(seed=4, no_repeat_ngram_size=3),
        )
        for prediction in ((), tuple(greedy(model, prompt, 30)[0]), (5,) * 20)
    ]  # fmt: skip
    harness = SchedulerHarness(model, max_num_seqs=6)
    groups = [harness.submit(generation_request) for generation_request in generation_requests]
    harness.finish()
    monkeypatch.undo()
    monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: [0] * len(drafts))
    for generation_request, group in zip(generation_requests, groups, strict=True):
        plain = SchedulerHarness(model)
        alone = plain.submit(generation_request)
        plain.finish()
        assert (group.on_event.tokens, group.on_event.finish) == (alone.on_event.tokens, alone.on_event.finish)


def test_accepted_and_rejected_prediction_tokens_are_counted(model, eager):
    output_ids = greedy(model, [4, 5], 30)[0]
    harness = SchedulerHarness(model)
    right = harness.submit(request([4, 5], max_tokens=30, prediction=output_ids))
    harness.finish()
    assert right.stats.accepted_prediction_tokens == 30 - harness.passes, "one token of every pass is not a draft token"
    assert harness.passes == 3
    assert right.stats.rejected_prediction_tokens == 0
    half = [*output_ids[:5], *((token + 1) % VOCAB for token in output_ids[5:])]
    harness = SchedulerHarness(model)
    partly_right = harness.submit(request([4, 5], max_tokens=30, prediction=half))
    harness.finish()
    assert partly_right.on_event.tokens == output_ids
    assert (partly_right.stats.accepted_prediction_tokens, partly_right.stats.rejected_prediction_tokens) == (
        4,
        MAX_DRAFT_TOKENS - 4,
    )


def test_a_draft_ends_with_the_answer(model, eager):
    output_ids = greedy(model, [4, 5], 30)[0]
    stop = output_ids[11]
    harness = SchedulerHarness(model)
    group = harness.submit(request([4, 5], max_tokens=30, prediction=output_ids, stop=[stop]))
    harness.finish()
    assert group.on_event.tokens == output_ids[: output_ids.index(stop)]
    assert group.on_event.finish == "stop"
    short = harness.submit(request([4, 5], max_tokens=7, prediction=output_ids))
    harness.finish()
    assert short.on_event.tokens == output_ids[:7]


def test_drafts_never_preempt_a_sequence(model, eager):
    """Blocks for draft tokens are taken from free ones only."""
    harness = SchedulerHarness(model, max_num_seqs=2, num_blocks=6)
    output_ids = greedy(model, [4, 5], 40)[0]
    groups = [harness.submit(request([4, 5], max_tokens=40, prediction=output_ids, scope=scope)) for scope in "ab"]
    while not harness.scheduler.is_idle:
        harness.step()
        assert not harness.scheduler.queues.waiting
    assert [group.on_event.tokens for group in groups] == [output_ids, output_ids]
