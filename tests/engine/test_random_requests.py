"""Ten thousand random requests, compared with a simple reference.

With any parameters, concurrent requests, cancellations and preemption, every request gives the answer that it gives
alone, has the right finish reason, and frees its memory.
"""

import random

import pytest
import torch
from reference import VOCAB, EventRecorder, PagedSequences, SchedulerHarness, make_decoder

from turnwise.core.inference import GenerationRequest, TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.core.scheduling_options import SchedulingOptions
from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.sampling.multinomial import SamplerState
from turnwise.engine.sampling.sampler import SequenceLogitsState, sample_batch
from turnwise.engine.search.beam import BeamSearch
from turnwise.engine.speculation import speculative_decoder as drafting
from turnwise.engine.speculation.cost_model import CostModel

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="only the compiled library is batch-invariant"),
]

CONTEXT = 64
MODEL = make_decoder(context=CONTEXT)
SYSTEMS = [[rng.randrange(VOCAB) for _ in range(length)] for rng in [random.Random(1)] for length in (0, 20, 33)]


def random_request(rng):
    """A random request of any kind."""
    prompt = [*rng.choice(SYSTEMS), *(rng.randrange(VOCAB) for _ in range(rng.randint(1, 12)))]
    prompt_output = rng.choices(["nothing", "logprobs", "embedding"], [18, 1, 1])[0]
    max_tokens = rng.randint(1, min(18, CONTEXT - len(prompt)))
    if prompt_output == "embedding" or (prompt_output == "logprobs" and rng.random() < 0.5):
        max_tokens = 0
    params = {"temperature": 0}
    answers = 1
    kind = rng.choices(["greedy", "drawn", "beams"], [4, 5, 1])[0]
    if kind == "drawn":
        params = {"seed": rng.randrange(100), "temperature": rng.uniform(0.3, 2)}
        for name, values in {"top_k": [2, 9], "top_p": [0.5, 0.9], "min_p": [0.1], "typical_p": [0.7]}.items():
            if rng.random() < 0.25:
                params[name] = rng.choice(values)
    elif kind == "beams" and prompt_output == "nothing":
        params = {"num_beams": rng.randint(2, 4), "early_stopping": rng.choice([True, False, "never"])}
        if params["num_beams"] == 4 and rng.random() < 0.5:
            params |= {"num_beam_groups": 2, "diversity_penalty": 1.5}
        answers = rng.randint(1, params["num_beams"])
    more = {
        "presence_penalty": 0.7, "frequency_penalty": -0.4, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2,
        "min_tokens": 3, "logit_bias": {"5": 4.0, "9": -100}, "logprobs": True,
    }  # fmt: skip
    params |= {name: value for name, value in more.items() if rng.random() < 0.12}
    return GenerationRequest(
        tuple(prompt), GenerationParams(**params), max_tokens, frozenset(rng.sample(range(VOCAB), rng.randint(0, 3))),
        prompt_output=prompt_output, num_return_sequences=answers, scope=rng.choice("ab"),
        scheduling=SchedulingOptions(tenant=rng.choice("xyz"), priority=rng.choice([0, 0, 0, -1, 3])),
        prediction=tuple(rng.randrange(VOCAB) for _ in range(rng.choice([0, 0, 12]))),
    )  # fmt: skip


class ReferenceEngine:
    """Computes one request at a time, with a forward pass over the full sequence for every token."""

    def __init__(self):
        self.runner = NativeRunner(MODEL, PagedSequences.num_blocks(1, CONTEXT), 1)

    def logits(self, ids):
        return PagedSequences(self.runner, 1, CONTEXT).forward([0], [ids])

    def answers(self, generation_request):
        """Tokens and finish reason of each answer."""
        if generation_request.prompt_output == "embedding":
            return [([], "stop")]
        if not generation_request.max_tokens:
            return [([], "length")]
        if generation_request.params.num_beams > 1:
            return self.search_answers(generation_request)
        draw, logits_state, output_ids = (
            SamplerState.from_params(generation_request.params),
            SequenceLogitsState(generation_request),
            [],
        )
        while True:
            (choice,) = sample_batch(self.logits([*generation_request.prompt_ids, *output_ids]), [draw], [logits_state])
            if choice.token_id in generation_request.stop_ids:
                return [(output_ids, "stop")]
            logits_state.accept(choice.token_id)
            output_ids.append(choice.token_id)
            if len(output_ids) == generation_request.max_tokens:
                return [(output_ids, "length")]

    def search_answers(self, generation_request):
        search, events, has_started = BeamSearch(generation_request), [], False
        while not search.is_done:
            hypotheses = [branch.ids for branch in search.hypotheses] if has_started else [()]
            events += search.advance(
                torch.cat([self.logits([*generation_request.prompt_ids, *ids]) for ids in hypotheses])
            )
            has_started = True
        return answers_of(events, generation_request.num_return_sequences)


def answers_of(events, answers):
    actual = []
    for index in range(answers):
        answer_events = [event for event in events if event.index == index]
        actual.append(
            (
                [event.token_id for event in answer_events if isinstance(event, TokenEvent)],
                answer_events[-1].finish_reason if answer_events else None,
            )
        )
    return actual


class MultiAnswerRecorder(EventRecorder):
    """A recorder of several answers, which end one after the other."""

    finish = None


def mismatch(generation_request, group, reference_engine):
    """How a request differs from the reference; None if it does not."""
    events = group.on_event.events
    expected = reference_engine.answers(generation_request)
    if events and events[-1].finish_reason == "error":
        return repr(events[-1].error)
    actual = answers_of(events, generation_request.num_return_sequences)
    if events and events[-1].finish_reason == "cancelled":
        if not group.is_cancelled:
            return "it was not cancelled"
        params, expected_ids = actual[0][0], expected[0][0]
        return None if params == expected_ids[: len(params)] else "not a prefix of the expected answer"
    return None if actual == expected else f"{actual}, not {expected}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(10))
def test_random_requests_give_the_same_answers_as_alone(seed, monkeypatch):
    rng, reference_engine = random.Random(seed), ReferenceEngine()
    if seed % 2:  # every draft is verified, even if it is slower
        monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: [length for length, _ in drafts])
        monkeypatch.setattr(drafting, "IDLE_STEPS", 10**9)
    blocks, max_num_seqs = rng.choice([(16, 6), (30, 9), (100, 16)])
    harness = SchedulerHarness(MODEL, max_num_seqs, blocks)
    left, groups = 1000, []
    while left or not harness.scheduler.is_idle:
        for _ in range(min(left, rng.choice([0, 0, 1, 2, 12]))):
            left -= 1
            generation_request = random_request(rng)
            groups.append((generation_request, harness.submit(generation_request, MultiAnswerRecorder())))
        if groups and rng.random() < 0.2:
            rng.choice(groups[-20:])[1].cancel()
        harness.step()
        assert sum(len(group.sequences) for group in harness.scheduler.queues.running) <= max(max_num_seqs, 4)
        assert not any(group in harness.scheduler.queues.waiting for group in harness.scheduler.queues.running)
    assert harness.scheduler.queues.kv_cache.pool.num_available == blocks
    assert len(groups) == 1000
    mismatches = [
        (generation_request, reason)
        for generation_request, group in groups
        if (reason := mismatch(generation_request, group, reference_engine))
    ]
    assert not mismatches, mismatches[0]
