"""Beam search: transformers' results token by token, and what the service promises of any answer."""

from itertools import product

import numpy as np
import pytest
import torch
from reference import VOCAB, Desk, Listener, make, next_logits, request, run
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from turnwise.core.errors import UserError
from turnwise.core.inference import TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.generation_errors import NonFiniteLogits
from turnwise.engine.runners.model_runner import make_runner
from turnwise.engine.scheduling.scheduler import Scheduler
from turnwise.engine.sequence import SequenceGroup
from turnwise.models import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

STOP = 7
SIZES = {"vocab_size": VOCAB, "bos_token_id": 0, "eos_token_id": STOP, "initializer_range": 0.35}
PUBLISHED = {
    "gpt2": (GPT2LMHeadModel, GPT2Config(n_positions=96, n_embd=32, n_layer=2, n_head=2, **SIZES)),
    "llama": (
        LlamaForCausalLM,
        LlamaConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=96, **SIZES,
        ),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=PUBLISHED)
def pair(request, tmp_path_factory):
    """The same random weights in transformers and here."""
    kind, config = PUBLISHED[request.param]
    torch.manual_seed(3)
    theirs = kind(config).eval()
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)
    return theirs, checkpoint.load(folder, dtype=torch.float32).decoder


class Several(Listener):
    """Several answers end one after the other."""

    finish = None


def searched(model, prompt, *, answers=1, most=12, stop=(STOP,), **params):
    """The answers of a search and how they ended."""
    asked = request(prompt, params=GenerationParams(**params), most=most, stop=stop, num_return_sequences=answers)
    (heard,) = run(model, asked, slots=16, blocks=200, listener=Several)
    return told(heard, answers)


def told(heard, answers):
    found = [[event for event in heard.events if event.index == index] for index in range(answers)]
    for events in found:
        assert [event.finish_reason for event in events[:-1]] == [None] * (len(events) - 1), "nothing after the end"
    return [
        ([event.token_id for event in events if isinstance(event, TokenEvent)], events[-1].finish_reason)
        for events in found
    ]


PROMPTS = [[5, 2, 9], [1], [30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47], [8, 8, 8, 8]]
ASKED = [
    {"num_beams": 5, "early_stopping": True},
    {"num_beams": 2},
    {"num_beams": 4, "early_stopping": "never"},
    {"num_beams": 3, "length_penalty": 2.0},
    {"num_beams": 3, "length_penalty": -1.0, "early_stopping": "never"},
    {"num_beams": 8, "length_penalty": 0.0},
    {"num_beams": 4, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "repetition_penalty": 1.4},
]


@pytest.mark.parametrize("params", ASKED, ids=str)
@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_the_answers_are_those_of_transformers(pair, prompt, params):
    theirs, ours = pair
    answers = params["num_beams"]
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        out = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, num_return_sequences=answers,
            eos_token_id=STOP, pad_token_id=0, **params,
        )  # fmt: skip
    expected = []
    for row in out[:, len(prompt) :].tolist():
        ended = STOP in row
        expected.append((row[: row.index(STOP)], "stop") if ended else (row, "length"))
    assert searched(ours, prompt, answers=answers, **params) == expected
    assert searched(ours, prompt, **params) == expected[:1]


def score(model, prompt, ids):
    total = 0.0
    for place, id in enumerate(ids):
        total += float(next_logits(model, [*prompt, *ids[:place]]).log_softmax(dim=0)[id])
    return total


def test_beams_enough_for_everything_find_the_very_likeliest_answer():
    model = make()
    best = max(product(range(VOCAB), repeat=2), key=lambda ids: score(model, [3, 1], ids))
    ((found, finish),) = searched(model, [3, 1], num_beams=61, most=2, stop=())
    assert (tuple(found), finish) == (best, "length")


def test_groups_are_kept_apart():
    model = make()
    same = searched(model, [4, 4], answers=6, num_beams=6, most=6, stop=())
    apart = searched(model, [4, 4], answers=6, num_beams=6, num_beam_groups=3, diversity_penalty=20.0, most=6, stop=())
    assert len({tuple(ids) for ids, _ in apart}) == 6
    assert len({ids[0] for ids, _ in apart}) >= 3 > len({ids[0] for ids, _ in same})
    # The first group is not held back by anybody: it is a search of two beams.
    alone = searched(model, [4, 4], num_beams=2, most=6, stop=())
    assert alone[0] in apart


def test_what_is_certain_is_told_before_the_end():
    """A token goes out as soon as all that may still be the answer begin with it."""
    model = make()
    asked = request([3, 9], params=GenerationParams(num_beams=3), most=30)
    scheduler = Scheduler(make_runner(model, 60), 60, 4)
    group = SequenceGroup.from_request(asked, Listener())
    scheduler.add(group)
    early = 0
    while not scheduler.is_idle:
        scheduler.step()
        if group.on_event.finish is None:
            early = len(group.on_event.tokens)
            beams = {beam.ids[:early] for beam in group.search.hypotheses}
            assert beams == {tuple(group.on_event.tokens)}, "all beams begin with what was told"
    assert 0 < early < 30
    assert len(group.on_event.tokens) == 30


@pytest.mark.parametrize("blocks", [10, 14, 60])
def test_a_search_is_the_same_in_company_and_short_of_memory(blocks):
    """Beams that had to give way are read again and go on where they were."""
    model = make()
    asked = request([3, 9] * 10, params=GenerationParams(num_beams=3), most=40)
    others = [request([i, 5, 6], most=30) for i in range(6)]
    (alone,) = run(model, asked, blocks=60)
    heard = run(model, others[0], asked, *others[1:], blocks=blocks, slots=8)
    assert heard[1].tokens == alone.tokens
    for one, listener in zip(others, [heard[0], *heard[2:]], strict=True):
        (expected,) = run(model, one)
        assert listener.tokens == expected.tokens


def test_log_probabilities_are_those_of_the_answer():
    model = make()
    asked = request([3, 9], params=GenerationParams(num_beams=4, logprobs=True, top_logprobs=2), most=6)
    (heard,) = run(model, asked, blocks=60)
    logprobs = [event.logprobs for event in heard.events if isinstance(event, TokenEvent)]
    assert sum(one.logprob for one in logprobs) == pytest.approx(score(model, [3, 9], heard.tokens), abs=1e-4)
    assert all(len(one.top_logprobs) == 2 for one in logprobs)


class TwoAnswers:
    """A constraint: only [1, 2] and [1, 3] may be said."""

    def __init__(self, said=()):
        self.said = said

    def start(self):
        return TwoAnswers()

    def fork(self):
        return TwoAnswers(self.said)

    def token_mask(self):
        mask = np.zeros(VOCAB, dtype=bool)
        mask[[2, 3] if self.said else [1]] = True
        return mask

    def accept(self, token):
        self.said = (*self.said, token)

    @property
    def is_complete(self):
        return len(self.said) == 2


def test_a_constraint_holds_for_every_beam_and_ends_it():
    asked = request(
        [3], params=GenerationParams(num_beams=4), most=9, constraints=(TwoAnswers(),), num_return_sequences=2
    )
    (heard,) = run(make(), asked, listener=Several)
    assert sorted(told(heard, 2)) == [([1, 2], "stop"), ([1, 3], "stop")]


def test_more_answers_than_there_are_is_an_error_of_the_request():
    asked = request(
        [3], params=GenerationParams(num_beams=4), most=9, constraints=(TwoAnswers(),), num_return_sequences=3
    )
    (heard,) = run(make(), asked)
    assert isinstance(heard.events[-1].error, UserError)
    assert str(heard.events[-1].error) == "'n' is 3, but only 2 answers exist."


def test_beams_that_overflow_are_an_error():
    model = make()
    with torch.no_grad():
        model.embed.weight[50] = torch.inf
    heard, other = run(model, request([50, 1], params=GenerationParams(num_beams=3)), request([1, 2]))
    assert isinstance(heard.events[-1].error, NonFiniteLogits)
    assert other.finish == "length"


def test_a_cancelled_search_is_gone_after_a_step():
    model = make()
    scheduler = Scheduler(make_runner(model, 40), 40, 8)
    group = SequenceGroup.from_request(request([3, 9], params=GenerationParams(num_beams=5), most=50), Listener())
    scheduler.add(group)
    for _ in range(5):
        scheduler.step()
    assert len(group.sequences) == 5
    group.cancel()
    scheduler.step()
    assert (scheduler.is_idle, group.on_event.finish) == (True, "cancelled")
    assert scheduler.queues.kv_cache.pool.num_available == 40


def test_reports_on_the_prompt_and_the_end_are_told_of_every_answer():
    model = make()
    params = GenerationParams(num_beams=3, logprobs=True)
    (read,) = run(
        model,
        request([3, 9, 4], params=params, most=0, prompt_output="logprobs", num_return_sequences=2),
        listener=Several,
    )
    assert told(read, 2) == [([], "length")] * 2
    assert [len(event.prompt_logprobs) for event in read.events] == [2, 2]
    (both,) = run(
        model,
        request([3, 9, 4], params=params, most=5, prompt_output="logprobs", num_return_sequences=2),
        listener=Several,
    )
    (plain,) = run(model, request([3, 9, 4], params=params, most=5, num_return_sequences=2), listener=Several)
    assert told(both, 2) == told(plain, 2)
    desk = Desk(model, slots=8)
    group = desk.submit(request([3, 9], params=params, most=30, num_return_sequences=3), Several())
    desk.step(4)
    group.cancel()
    desk.finish()
    assert [finish for _, finish in told(group.on_event, 3)] == ["cancelled"] * 3
