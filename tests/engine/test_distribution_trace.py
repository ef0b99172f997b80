"""The distribution of the next token by stages: what is reported is what the sampler draws from."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import VOCAB, make_decoder, next_logits, request, run_requests
from test_sample_batch import OnlyTokens

from turnwise.core.inference import PromptEvent
from turnwise.core.parameters import GenerationParams
from turnwise.core.token_distributions import DistributionQuery
from turnwise.engine.generation_errors import NonFiniteLogits, NoTokenAllowed
from turnwise.engine.sampling.distribution_trace import trace_distribution
from turnwise.engine.sampling.multinomial import SamplerState
from turnwise.engine.sampling.sampler import SequenceLogitsState, sample_batch

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = DistributionQuery(top=VOCAB)
SOME = DistributionQuery(top=5)
token = st.integers(0, VOCAB - 1)
logits = st.lists(st.floats(-12, 12, width=32), min_size=VOCAB, max_size=VOCAB)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.3, 0.8, 1.0, 1.7]),
        "top_k": st.sampled_from([0, 1, 3, 10]),
        "top_p": st.sampled_from([0.0, 0.3, 0.9, 1.0]),
        "min_p": st.sampled_from([0.0, 0.02, 0.5]),
        "typical_p": st.sampled_from([0.2, 0.9, 1.0]),
        "epsilon_cutoff": st.sampled_from([0.0, 0.01]),
        "eta_cutoff": st.sampled_from([0.0, 0.05]),
        "top_n_sigma": st.sampled_from([0.0, 1.0]),
        "repetition_penalty": st.sampled_from([0.8, 1.5]),
        "frequency_penalty": st.sampled_from([-1.0, 1.0]),
        "presence_penalty": st.sampled_from([-1.0, 1.0]),
        "no_repeat_ngram_size": st.sampled_from([0, 1, 2]),
        "min_tokens": st.sampled_from([0, 3]),
        "logit_bias": st.dictionaries(token, st.sampled_from([-100.0, -2.0, 3.0]), max_size=3),
    },
)


def trace_of(row, params=None, *, prompt=(1, 2), answer=(), query=ALL, **options):
    """The trace of a row of logits after a prompt and the start of an answer."""
    generation_request = request(
        [*prompt, *answer], params=GenerationParams(**(params or {})), num_answer_ids=len(answer), distribution=query,
        **options,
    )  # fmt: skip
    return trace_distribution(torch.tensor(row), generation_request, SequenceLogitsState(generation_request))


class FixedRandom:
    """A random generator with a fixed value."""

    def __init__(self, value):
        self.random = lambda: value


def drawn_token(row, generation_request, uniform):
    """The token that the sampler of the engine draws at a random number."""
    state = SamplerState(generation_request.params, FixedRandom(uniform))
    (output,) = sample_batch(torch.tensor([row]), [state], [SequenceLogitsState(generation_request)])
    assert output.error is None
    return output.token_id


@given(logits, parameters, st.lists(token, max_size=4), st.floats(0.001, 0.999))
@settings(max_examples=300, deadline=None)
def test_the_last_stage_is_the_distribution_that_the_sampler_draws_from(row, params, answer, uniform):
    generation_request = request(
        [1, 2, *answer], params=GenerationParams(**params), stop=[7], num_answer_ids=len(answer), distribution=ALL
    )
    try:
        trace = trace_distribution(torch.tensor(row), generation_request, SequenceLogitsState(generation_request))
    except NoTokenAllowed:
        return
    final = {entry.token_id: (entry.stage_logprobs or (entry.logprob,))[-1] for entry in trace.tokens}
    probabilities = [math.exp(final[id]) for id in range(VOCAB)]
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    drawn = drawn_token(row, generation_request, uniform)
    # Inverse transform sampling: the cumulative probability passes the random number at the drawn token.
    below = sum(probabilities[:drawn])
    if trace.stages and trace.stages[-1].num_kept == 1:
        assert probabilities[drawn] == 1
    else:
        assert below - 1e-5 <= uniform <= below + probabilities[drawn] + 1e-5
    assert probabilities[drawn] > 0


@given(logits, parameters)
@settings(max_examples=100, deadline=None)
def test_a_removed_token_stays_removed_and_has_a_stage_with_a_reason(row, params):
    try:
        trace = trace_of(row, params)
    except NoTokenAllowed:
        return
    for entry in trace.tokens:
        assert len(entry.stage_logprobs) == len(trace.stages)
        if entry.removed_by is None:
            assert all(value > -math.inf for value in entry.stage_logprobs)
            continue
        assert set(entry.stage_logprobs[entry.removed_by :]) == {-math.inf}
        assert trace.stages[entry.removed_by].reason.endswith(".")
    for index, stage in enumerate(trace.stages):
        assert stage.num_kept == sum(entry.stage_logprobs[index] > -math.inf for entry in trace.tokens)


def test_stages_are_in_the_order_of_the_engine_and_neutral_ones_are_left_out():
    row = torch.randn(VOCAB).tolist()
    names = ["min_p", "temperature", "top_p", "repetition_penalty", "top_k"]
    trace = trace_of(row, dict(zip(names, [0.1, 0.5, 0.9, 1.2, 10], strict=True)))
    assert [stage.name for stage in trace.stages] == ["repetition_penalty", "temperature", "top_k", "top_p", "min_p"]
    assert [stage.value for stage in trace.stages] == [1.2, 0.5, 10, 0.9, 0.1]
    assert trace_of(row).stages == ()


def test_the_most_likely_tokens_before_and_after_the_stages_are_returned_and_those_that_are_asked_for():
    row = [float(-id) for id in range(VOCAB)]
    trace = trace_of(row, {"logit_bias": {60: 100}}, query=DistributionQuery(top=3, token_ids=(30,)))
    assert [entry.token_id for entry in trace.tokens] == [0, 1, 30, 60]
    assert [entry.rank for entry in trace.tokens] == [1, 2, 31, 61]
    assert trace.tokens[-1].stage_logprobs[-1] == pytest.approx(0, abs=1e-6)


def test_the_tokens_of_the_answer_count_as_output():
    row = [0.0] * VOCAB
    params = {"frequency_penalty": 1.0}
    assert trace_of(row, params, prompt=(1, 5, 5)).tokens[5].stage_logprobs == pytest.approx([-math.log(VOCAB)])
    answered = {entry.token_id: entry for entry in trace_of(row, params, prompt=(1,), answer=(5, 5)).tokens}
    assert answered[5].stage_logprobs[0] == pytest.approx(answered[6].stage_logprobs[0] - 2)


def test_a_constraint_continues_after_the_tokens_of_the_answer():
    class NamedTokens(OnlyTokens):
        def start(self):
            state = super().start()
            state.name, state.reason = "grammar", "Not allowed."
            return state

    trace = trace_of([0.0] * VOCAB, answer=(3,), constraints=(NamedTokens(3, 9),))
    assert [entry.token_id for entry in trace.tokens if entry.removed_by is None] == [9]
    assert [(stage.name, stage.reason, stage.num_kept) for stage in trace.stages] == [("grammar", "Not allowed.", 1)]


def test_greedy_decoding_keeps_the_first_of_the_most_likely_tokens():
    trace = trace_of([0.0, 2.0, 2.0] + [0.0] * (VOCAB - 3), {"temperature": 0, "top_k": 2}, query=SOME)
    assert [stage.name for stage in trace.stages] == ["temperature"]
    assert [entry.token_id for entry in trace.tokens if entry.removed_by is None] == [1]


def test_a_trace_leaves_the_logits_as_they_are_and_rejects_those_that_are_not_finite():
    row = torch.randn(VOCAB)
    before = row.clone()
    generation_request = request([1], params=GenerationParams(top_k=2, logit_bias={3: 5}), distribution=SOME)
    trace_distribution(row, generation_request, SequenceLogitsState(generation_request))
    assert torch.equal(row, before)
    row[4] = math.nan
    with pytest.raises(NonFiniteLogits):
        trace_distribution(row, generation_request, SequenceLogitsState(generation_request))


@pytest.fixture(scope="module")
def model():
    return make_decoder()


def test_a_request_for_a_distribution_generates_nothing_and_uses_the_prefix_cache(model):
    prompt = list(range(1, 40))
    asked = request(prompt, max_tokens=0, prompt_output="distribution", distribution=SOME)
    results = run_requests(model, asked, asked, max_num_seqs=1)
    for result in results:
        (event,) = result.events
        assert isinstance(event, PromptEvent)
        assert event.finish_reason == "stop"
        exact = next_logits(model, prompt).double().log_softmax(dim=0)
        values, ids = exact.topk(5)
        assert [entry.token_id for entry in event.distribution.tokens] == ids.tolist()
        assert [entry.logprob for entry in event.distribution.tokens] == pytest.approx(values.tolist(), abs=1e-4)
    assert results[1].events[0].stats.cached_tokens >= 32


def test_the_constraints_of_a_request_may_leave_no_token(model):
    banned = GenerationParams(temperature=1, no_repeat_ngram_size=1)
    asked = request(range(VOCAB), params=banned, max_tokens=0, prompt_output="distribution")
    (result,) = run_requests(model, asked)
    assert isinstance(result.events[0].error, NoTokenAllowed)


@pytest.mark.parametrize("params", [{"frequency_penalty": 1.5}, {"no_repeat_ngram_size": 2}, {"min_tokens": 6}])
def test_an_answer_continues_after_its_given_start_as_if_the_start_was_generated(model, params):
    prompt = [4, 8, 15]
    complete = request(prompt, params=GenerationParams(temperature=0, **params), max_tokens=12, stop=[7])
    (whole,) = run_requests(model, complete)
    start = whole.tokens[:5]
    rest = replace(complete, prompt_ids=(*prompt, *start), num_answer_ids=5, max_tokens=7)
    (continued,) = run_requests(model, rest)
    assert start + continued.tokens == whole.tokens
