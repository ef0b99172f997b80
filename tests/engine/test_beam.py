"""Beam search: the results of transformers token by token, streaming, constraints, preemption and errors."""

from itertools import product

import numpy as np
import pytest
import torch
from reference import VOCAB, EventRecorder, SchedulerHarness, make_decoder, next_logits, request, run_requests
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from turnwise.core.errors import UserError
from turnwise.core.inference import SearchTraceEvent, TokenEvent
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
    """The same random weights in transformers and in our decoder."""
    kind, config = PUBLISHED[request.param]
    torch.manual_seed(3)
    hf_model = kind(config).eval()
    folder = tmp_path_factory.mktemp(request.param)
    hf_model.save_pretrained(folder)
    return hf_model, checkpoint.load(folder, dtype=torch.float32).decoder


class MultiAnswerRecorder(EventRecorder):
    """A recorder of several answers, which end one after the other."""

    finish = None


def search_answers(model, prompt, *, answers=1, max_tokens=12, stop=(STOP,), **params):
    """Tokens and finish reason of each answer of a search."""
    generation_request = request(
        prompt, params=GenerationParams(**params), max_tokens=max_tokens, stop=stop, num_return_sequences=answers
    )
    (result,) = run_requests(model, generation_request, max_num_seqs=16, num_blocks=200, recorder=MultiAnswerRecorder)
    return answers_of(result, answers)


def answers_of(result, answers):
    events_by_answer = [[event for event in result.events if event.index == index] for index in range(answers)]
    for events in events_by_answer:
        assert [event.finish_reason for event in events[:-1]] == [None] * (len(events) - 1), (
            "there are no events after the last one"
        )
    return [
        ([event.token_id for event in events if isinstance(event, TokenEvent)], events[-1].finish_reason)
        for events in events_by_answer
    ]


PROMPTS = [[5, 2, 9], [1], [30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47], [8, 8, 8, 8]]
SEARCHES = [
    {"num_beams": 5, "early_stopping": True},
    {"num_beams": 2},
    {"num_beams": 4, "early_stopping": "never"},
    {"num_beams": 3, "length_penalty": 2.0},
    {"num_beams": 3, "length_penalty": -1.0, "early_stopping": "never"},
    {"num_beams": 8, "length_penalty": 0.0},
    {"num_beams": 4, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "repetition_penalty": 1.4},
]


@pytest.mark.parametrize("params", SEARCHES, ids=str)
@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_answers_equal_those_of_transformers(pair, prompt, params):
    hf_model, model = pair
    answers = params["num_beams"]
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        out = hf_model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, num_return_sequences=answers,
            eos_token_id=STOP, pad_token_id=0, **params,
        )  # fmt: skip
    expected = []
    for row in out[:, len(prompt) :].tolist():
        has_stop = STOP in row
        expected.append((row[: row.index(STOP)], "stop") if has_stop else (row, "length"))
    assert search_answers(model, prompt, answers=answers, **params) == expected
    assert search_answers(model, prompt, **params) == expected[:1]


def score(model, prompt, ids):
    total = 0.0
    for position, id in enumerate(ids):
        total += float(next_logits(model, [*prompt, *ids[:position]]).log_softmax(dim=0)[id])
    return total


@pytest.mark.costly
def test_enough_beams_find_the_most_likely_answer():
    model = make_decoder()
    best = max(product(range(VOCAB), repeat=2), key=lambda ids: score(model, [3, 1], ids))
    ((events_by_answer, finish),) = search_answers(model, [3, 1], num_beams=61, max_tokens=2, stop=())
    assert (tuple(events_by_answer), finish) == (best, "length")


def test_the_diversity_penalty_separates_beam_groups():
    model = make_decoder()
    same = search_answers(model, [4, 4], answers=6, num_beams=6, max_tokens=6, stop=())
    apart = search_answers(
        model, [4, 4], answers=6, num_beams=6, num_beam_groups=3, diversity_penalty=20.0, max_tokens=6, stop=()
    )
    assert len({tuple(ids) for ids, _ in apart}) == 6
    assert len({ids[0] for ids, _ in apart}) >= 3 > len({ids[0] for ids, _ in same})
    # The first group has no penalty, so it equals a search with two beams.
    alone = search_answers(model, [4, 4], num_beams=2, max_tokens=6, stop=())
    assert alone[0] in apart


def test_a_token_is_sent_as_soon_as_all_beams_agree_on_it():
    model = make_decoder()
    generation_request = request([3, 9], params=GenerationParams(num_beams=3), max_tokens=30)
    scheduler = Scheduler(make_runner(model, 60), 60, 4)
    group = SequenceGroup.from_request(generation_request, EventRecorder())
    scheduler.add(group)
    early = 0
    while not scheduler.is_idle:
        scheduler.step()
        if group.on_event.finish is None:
            early = len(group.on_event.tokens)
            beams = {beam.ids[:early] for beam in group.search.hypotheses}
            assert beams == {tuple(group.on_event.tokens)}, "all beams begin with the tokens that were sent"
    assert 0 < early < 30
    assert len(group.on_event.tokens) == 30


@pytest.mark.parametrize("blocks", [10, 14, 60])
def test_a_search_gives_the_same_answer_beside_other_requests_and_with_preemption(blocks):
    model = make_decoder()
    generation_request = request([3, 9] * 10, params=GenerationParams(num_beams=3), max_tokens=40)
    neighbours = [request([i, 5, 6], max_tokens=30) for i in range(6)]
    (alone,) = run_requests(model, generation_request, num_blocks=60)
    result = run_requests(model, neighbours[0], generation_request, *neighbours[1:], num_blocks=blocks, max_num_seqs=8)
    assert result[1].tokens == alone.tokens
    for neighbour_request, recorder in zip(neighbours, [result[0], *result[2:]], strict=True):
        (expected,) = run_requests(model, neighbour_request)
        assert recorder.tokens == expected.tokens


def test_logprobs_are_those_of_the_returned_answer():
    model = make_decoder()
    generation_request = request(
        [3, 9], params=GenerationParams(num_beams=4, logprobs=True, top_logprobs=2), max_tokens=6
    )
    (result,) = run_requests(model, generation_request, num_blocks=60)
    logprobs = [event.logprobs for event in result.events if isinstance(event, TokenEvent)]
    assert sum(token.logprob for token in logprobs) == pytest.approx(score(model, [3, 9], result.tokens), abs=1e-4)
    assert all(len(token.top_logprobs) == 2 for token in logprobs)


class TwoAnswers:
    """A constraint that allows the outputs [1, 2] and [1, 3] only."""

    def __init__(self, output_ids=()):
        self.output_ids = output_ids

    def start(self):
        return TwoAnswers()

    def fork(self):
        return TwoAnswers(self.output_ids)

    def token_mask(self):
        mask = np.zeros(VOCAB, dtype=bool)
        mask[[2, 3] if self.output_ids else [1]] = True
        return mask

    def accept(self, token):
        self.output_ids = (*self.output_ids, token)

    @property
    def is_complete(self):
        return len(self.output_ids) == 2


def test_a_constraint_applies_to_every_beam_and_ends_it():
    generation_request = request(
        [3], params=GenerationParams(num_beams=4), max_tokens=9, constraints=(TwoAnswers(),), num_return_sequences=2
    )
    (result,) = run_requests(make_decoder(), generation_request, recorder=MultiAnswerRecorder)
    assert sorted(answers_of(result, 2)) == [([1, 2], "stop"), ([1, 3], "stop")]


def test_requesting_more_answers_than_exist_is_a_client_error():
    generation_request = request(
        [3], params=GenerationParams(num_beams=4), max_tokens=9, constraints=(TwoAnswers(),), num_return_sequences=3
    )
    (result,) = run_requests(make_decoder(), generation_request)
    assert isinstance(result.events[-1].error, UserError)
    assert str(result.events[-1].error) == "'n' is 3, but the search found only 2 answers."


def test_non_finite_logits_in_beams_end_the_request_with_an_error():
    model = make_decoder()
    with torch.no_grad():
        model.embed.weight[50] = torch.inf
    result, neighbour = run_requests(model, request([50, 1], params=GenerationParams(num_beams=3)), request([1, 2]))
    assert isinstance(result.events[-1].error, NonFiniteLogits)
    assert neighbour.finish == "length"


def test_a_cancelled_search_is_removed_after_one_step():
    model = make_decoder()
    scheduler = Scheduler(make_runner(model, 40), 40, 8)
    group = SequenceGroup.from_request(
        request([3, 9], params=GenerationParams(num_beams=5), max_tokens=50), EventRecorder()
    )
    scheduler.add(group)
    for _ in range(5):
        scheduler.step()
    assert len(group.sequences) == 5
    group.cancel()
    scheduler.step()
    assert (scheduler.is_idle, group.on_event.finish) == (True, "cancelled")
    assert scheduler.queues.kv_cache.pool.num_available == 40


def test_every_answer_reports_prompt_logprobs_and_a_finish_reason():
    model = make_decoder()
    params = GenerationParams(num_beams=3, logprobs=True)
    (read,) = run_requests(
        model,
        request([3, 9, 4], params=params, max_tokens=0, prompt_output="logprobs", num_return_sequences=2),
        recorder=MultiAnswerRecorder,
    )
    assert answers_of(read, 2) == [([], "length")] * 2
    assert [len(event.prompt_logprobs) for event in read.events] == [2, 2]
    (both,) = run_requests(
        model,
        request([3, 9, 4], params=params, max_tokens=5, prompt_output="logprobs", num_return_sequences=2),
        recorder=MultiAnswerRecorder,
    )
    (plain,) = run_requests(
        model, request([3, 9, 4], params=params, max_tokens=5, num_return_sequences=2), recorder=MultiAnswerRecorder
    )
    assert answers_of(both, 2) == answers_of(plain, 2)
    harness = SchedulerHarness(model, max_num_seqs=8)
    group = harness.submit(request([3, 9], params=params, max_tokens=30, num_return_sequences=3), MultiAnswerRecorder())
    harness.step(4)
    group.cancel()
    harness.finish()
    assert [finish for _, finish in answers_of(group.on_event, 3)] == ["cancelled"] * 3


def search_with_trace(model, prompt, *, answers=3, max_tokens=8, stop=(STOP,), **params):
    """The result of a search with its trace, and the hypotheses of the search after every step."""
    generation_request = request(
        prompt, params=GenerationParams(**params), max_tokens=max_tokens, stop=stop, num_return_sequences=answers,
        trace_search=True,
    )  # fmt: skip
    recorder = MultiAnswerRecorder()
    harness = SchedulerHarness(model, max_num_seqs=16, num_blocks=200)
    group = harness.submit(generation_request, recorder)
    hypotheses = []
    while not harness.scheduler.is_idle:
        harness.step()
        hypotheses.append([(beam.ids, beam.score) for beam in group.search.hypotheses])
    (tree,) = [event.tree for event in recorder.events if isinstance(event, SearchTraceEvent)]
    return tree, recorder, hypotheses


def path_to(tree, node):
    """The tokens of the hypothesis that ends at a node."""
    ids = []
    while node is not None:
        ids.append(tree.nodes[node].token_id)
        node = tree.nodes[node].parent
    return tuple(reversed(ids))


@pytest.mark.parametrize(
    "params", [{"num_beams": 4}, {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.7}, {"num_beams": 3}]
)
def test_the_tree_has_the_beams_of_every_step_and_the_answers(params):
    tree, recorder, hypotheses = search_with_trace(make_decoder(), [3, 9, 27], **params)
    for step, beams in enumerate(hypotheses, 1):
        kept = {
            (path_to(tree, index), node.score)
            for index, node in enumerate(tree.nodes)
            if node.step == step and not node.is_finished
        }
        assert set(beams) <= kept
        assert beams or step >= len(hypotheses) - 1  # a group that is done has no beams any more
    for index, node in enumerate(tree.nodes):
        parent_score = 0 if node.parent is None else tree.nodes[node.parent].score
        assert node.score == pytest.approx(parent_score + node.logprob)
        assert node.parent is None or (node.parent < index and not tree.nodes[node.parent].is_finished)
    answers = [
        [event.token_id for event in recorder.events if isinstance(event, TokenEvent) and event.index == number]
        for number in range(3)
    ]
    paths = [path_to(tree, node) for node in tree.answers]
    assert [[id for id in path if id != STOP] for path in paths] == answers
    assert all(tree.nodes[node].is_finished for node in tree.answers)


def test_a_search_without_a_trace_records_nothing():
    (result,) = run_requests(
        make_decoder(), request([3, 9], params=GenerationParams(num_beams=3), num_return_sequences=1, max_tokens=5),
        max_num_seqs=16,
    )  # fmt: skip
    assert not any(isinstance(event, SearchTraceEvent) for event in result.events)
