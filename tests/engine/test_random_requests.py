"""Ten thousand random requests, against an implementation that is slow and obvious.

Whatever is asked, and whoever else is there, cancels or runs out of memory: every request says what it says alone, ends
for the right reason, and leaves nothing behind.
"""

import random

import pytest
import torch
from reference import VOCAB, Desk, Lines, Listener, make

from turnwise.core.inference import GenerationRequest, TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.sampling.multinomial import SamplerState
from turnwise.engine.sampling.sampler import LogitsProcessors, sample_batch
from turnwise.engine.search.beam import BeamSearch
from turnwise.engine.speculation import speculative_decoder as drafting
from turnwise.engine.speculation.cost_model import CostModel

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="only the compiled library gives the same bits in any company"),
]

CONTEXT = 64
MODEL = make(context=CONTEXT)
SYSTEMS = [[rng.randrange(VOCAB) for _ in range(length)] for rng in [random.Random(1)] for length in (0, 20, 33)]


def drawn(rng):
    """A request of any kind."""
    prompt = [*rng.choice(SYSTEMS), *(rng.randrange(VOCAB) for _ in range(rng.randint(1, 12)))]
    reading = rng.choices(["nothing", "logprobs", "embedding"], [18, 1, 1])[0]
    most = rng.randint(1, min(18, CONTEXT - len(prompt)))
    if reading == "embedding" or (reading == "logprobs" and rng.random() < 0.5):
        most = 0
    said = {"temperature": 0}
    answers = 1
    kind = rng.choices(["greedy", "drawn", "beams"], [4, 5, 1])[0]
    if kind == "drawn":
        said = {"seed": rng.randrange(100), "temperature": rng.uniform(0.3, 2)}
        for name, values in {"top_k": [2, 9], "top_p": [0.5, 0.9], "min_p": [0.1], "typical_p": [0.7]}.items():
            if rng.random() < 0.25:
                said[name] = rng.choice(values)
    elif kind == "beams" and reading == "nothing":
        said = {"num_beams": rng.randint(2, 4), "early_stopping": rng.choice([True, False, "never"])}
        if said["num_beams"] == 4 and rng.random() < 0.5:
            said |= {"num_beam_groups": 2, "diversity_penalty": 1.5}
        answers = rng.randint(1, said["num_beams"])
    more = {
        "presence_penalty": 0.7, "frequency_penalty": -0.4, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2,
        "min_tokens": 3, "logit_bias": {"5": 4.0, "9": -100}, "logprobs": True,
    }  # fmt: skip
    said |= {name: value for name, value in more.items() if rng.random() < 0.12}
    return GenerationRequest(
        tuple(prompt), GenerationParams(**said), most, frozenset(rng.sample(range(VOCAB), rng.randint(0, 3))),
        prompt_output=reading, num_return_sequences=answers, scope=rng.choice("ab"), tenant=rng.choice("xyz"),
        priority=rng.choice([0, 0, 0, -1, 3]),
        prediction=tuple(rng.randrange(VOCAB) for _ in range(rng.choice([0, 0, 12]))),
    )  # fmt: skip


class Obvious:
    """One request at a time, and the whole sequence through the model for every token."""

    def __init__(self):
        self.runner = NativeRunner(MODEL, Lines.blocks(1, CONTEXT), 1)

    def logits(self, ids):
        return Lines(self.runner, 1, CONTEXT).read([0], [ids])

    def answers(self, asked):
        """Tokens and finish reason of every answer."""
        if asked.prompt_output == "embedding":
            return [([], "stop")]
        if not asked.max_tokens:
            return [([], "length")]
        if asked.params.num_beams > 1:
            return self.searched(asked)
        draw, logits_processors, said = SamplerState.from_params(asked.params), LogitsProcessors(asked), []
        while True:
            (choice,) = sample_batch(self.logits([*asked.prompt_ids, *said]), [draw], [logits_processors])
            if choice.token_id in asked.stop_ids:
                return [(said, "stop")]
            logits_processors.accept(choice.token_id)
            said.append(choice.token_id)
            if len(said) == asked.max_tokens:
                return [(said, "length")]

    def searched(self, asked):
        search, events, begun = BeamSearch(asked), [], False
        while not search.is_done:
            lines = [branch.ids for branch in search.hypotheses] if begun else [()]
            events += search.advance(torch.cat([self.logits([*asked.prompt_ids, *ids]) for ids in lines]))
            begun = True
        return told(events, asked.num_return_sequences)


def told(events, answers):
    found = []
    for index in range(answers):
        own = [event for event in events if event.index == index]
        found.append(
            ([event.token_id for event in own if isinstance(event, TokenEvent)], own[-1].finish_reason if own else None)
        )
    return found


class All(Listener):
    """Several answers end one after the other."""

    finish = None


def went_wrong(asked, group, obvious):
    """What is not as it should be about how a chat ended; None where all is well."""
    events = group.on_event.events
    expected = obvious.answers(asked)
    if events and events[-1].finish_reason == "error":
        return repr(events[-1].error)
    found = told(events, asked.num_return_sequences)
    if events and events[-1].finish_reason == "cancelled":
        if not group.is_cancelled:
            return "nobody cancelled it"
        said, whole = found[0][0], expected[0][0]
        return None if said == whole[: len(said)] else "not what it would have said"
    return None if found == expected else f"{found}, not {expected}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_random_requests_end_as_they_would_alone(seed, monkeypatch):
    rng, obvious = random.Random(seed), Obvious()
    if seed % 2:  # every draft is checked, whether it pays or not
        monkeypatch.setattr(CostModel, "draft_lengths", lambda self, rows, drafts: [length for length, _ in drafts])
        monkeypatch.setattr(drafting, "IDLE_STEPS", 10**9)
    blocks, slots = rng.choice([(16, 6), (30, 9), (100, 16)])
    desk = Desk(MODEL, slots, blocks)
    left, groups = 1000, []
    while left or not desk.scheduler.is_idle:
        for _ in range(min(left, rng.choice([0, 0, 1, 2, 12]))):
            left -= 1
            asked = drawn(rng)
            groups.append((asked, desk.submit(asked, All())))
        if groups and rng.random() < 0.2:
            rng.choice(groups[-20:])[1].cancel()
        desk.step()
        assert sum(len(group.sequences) for group in desk.scheduler.queues.running) <= max(slots, 4)
        assert not any(group in desk.scheduler.queues.waiting for group in desk.scheduler.queues.running)
    assert desk.scheduler.queues.kv_cache.pool.num_available == blocks
    assert len(groups) == 1000
    wrong = [(asked, what) for asked, group in groups if (what := went_wrong(asked, group, obvious))]
    assert not wrong, wrong[0]
