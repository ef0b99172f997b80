"""Unmerged adapters give the logits of merged ones, alone and beside other adapters."""

import random
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import EventRecorder, PagedSequences, make_decoder, next_logits, request

from turnwise.engine.adapted_engine import create_adapted_engine
from turnwise.engine.batch import BatchEntry
from turnwise.engine.engine import Engine
from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.models.checkpoint import create
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.lora_factors import LoraFactors

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

SHAPES = {
    "llama-like": {},
    "gpt2-like": {"shape": "gpt2-like"},
    "windowed": {"shape": "windowed"},
    "odd columns": {"intermediate_size": 67, "num_heads": 3, "num_kv_heads": 3},
    "gelu with gates": {"activation": "gelu_tanh", "mlp_bias": True},
}


def random_factors(
    model, *, ranks=(3, 40, 5, 1), dora=False, seed=0, targets=("attention.qkv", "attention.out", "mlp.up", "mlp.down")
):
    """Random LoRA factors of every layer; some rows of a joined matrix have zeros."""
    generator = torch.Generator().manual_seed(seed)
    actual = {}
    for number in range(model.config.num_layers):
        for target, rank in zip(targets, ranks, strict=False):
            weight = model.get_parameter(f"layers.{number}.{target}.weight")
            down = 0.5 * torch.randn(rank, weight.shape[1], generator=generator)
            up = 0.2 * torch.randn(len(weight), rank, generator=generator)
            up[len(weight) // 2 :, : rank // 2] = 0
            factor = 0.5 + torch.rand(len(weight), generator=generator) if dora else None
            actual[f"layers.{number}.{target}"] = LoraFactors(down, up, factor)
    return actual


def merged_decoder(model, factors):
    """A copy of the decoder with merged factors."""
    config = model.config
    copied = create(config, seed=0).decoder.eval()
    copied.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name, change in factors.items():
            weight = copied.get_parameter(f"{name}.weight")
            weight += change.up_OR @ change.down_RI
            if change.dora_scale_O is not None:
                weight *= change.dora_scale_O[:, None]
    return copied


class AdaptedSequences(PagedSequences):
    """Sequences that each use an adapter or none."""

    def __init__(self, model, adapters, adapter_names, *, max_tokens=96, threads=1, quantize=None):
        count = len(adapter_names)
        super().__init__(NativeRunner(model, self.num_blocks(count, max_tokens), threads, quantize), count, max_tokens)
        self.adapter_names = adapter_names
        for name, factors in adapters.items():
            assert self.runner.load_lora(name, factors)

    def forward(self, sequences, ids, num_outputs=1, return_hidden=False):
        entries = [
            BatchEntry(
                self.tables[number], self.lengths[number], new_ids, num_outputs, adapter=self.adapter_names[number]
            )
            for number, new_ids in zip(sequences, ids, strict=True)
        ]
        for number, new_ids in zip(sequences, ids, strict=True):
            self.lengths[number] += len(new_ids)
        return self.runner.forward(entries, return_hidden=return_hidden)


@pytest.mark.parametrize("dora", [False, True], ids=["LoRA", "DoRA"])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_equal_those_of_the_merged_model(shape, dora):
    model = make_decoder(initializer_range=0.2, **SHAPES[shape])
    adapters = {"one": random_factors(model, dora=dora), "other": random_factors(model, ranks=(8, 8), seed=1)}
    models = {"": model} | {name: merged_decoder(model, factors) for name, factors in adapters.items()}
    adapter_names = ["other", "", "one", "other", "one"]
    sequences = AdaptedSequences(model, adapters, adapter_names)
    conversations = [
        [(3 * number + 5 * position) % 61 for position in range(length)]
        for number, length in enumerate([40, 3, 17, 1, 30])
    ]
    for step in range(3):
        new = conversations if not step else [[step + number] for number in range(5)]
        conversations = (
            new
            if not step
            else [[*conversation, *new_ids] for conversation, new_ids in zip(conversations, new, strict=True)]
        )
        actual = sequences.forward(range(5), new)
        expected = torch.stack(
            [
                next_logits(models[adapter_name], conversation)
                for adapter_name, conversation in zip(adapter_names, conversations, strict=True)
            ]
        )
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


MODEL = make_decoder()
ADAPTERS = {"a": random_factors(MODEL), "b": random_factors(MODEL, ranks=(4, 4, 4, 4), dora=True, seed=2)}


@pytest.mark.costly
@settings(max_examples=30, deadline=None)
@given(
    adapter_names=st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=12),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
    quantize=st.sampled_from([None, "int8", "int4"]),
)
def test_outputs_are_bit_identical_alone_and_beside_other_adapters(adapter_names, threads, seed, quantize):
    rng = random.Random(seed)
    conversations = [[rng.randrange(61) for _ in range(rng.randrange(1, 50))] for _ in adapter_names]
    numbers = list(range(len(adapter_names)))
    together = AdaptedSequences(MODEL, ADAPTERS, adapter_names, threads=threads, quantize=quantize)
    first, second = (
        together.forward(numbers, conversations),
        together.forward(numbers, [[7, 8]] * len(adapter_names), num_outputs=2),
    )
    for number, (adapter_name, conversation) in enumerate(zip(adapter_names, conversations, strict=True)):
        alone = AdaptedSequences(MODEL, ADAPTERS, [adapter_name], quantize=quantize)
        assert torch.equal(first[number], alone.forward([0], [conversation])[0])
        assert torch.equal(second[2 * number : 2 * number + 2], alone.forward([0], [[7, 8]], num_outputs=2))


def answer(engine, prompt, **new_ids):
    done, recorder = threading.Event(), EventRecorder()

    def on_event(event):
        recorder(event)
        if event.finish_reason is not None:
            done.set()

    engine.submit(request(prompt, max_tokens=12, **new_ids), on_event)
    assert done.wait(20)
    return recorder


def test_adapters_of_one_engine_share_no_cached_prefix():
    """Keys and values of the same tokens depend on the adapter."""
    engine = Engine(make_decoder(), max_num_seqs=4)
    try:
        factors = random_factors(MODEL)
        adapted = create_adapted_engine(engine, "mine", factors)
        alone = Engine(merged_decoder(MODEL, factors), max_num_seqs=4)
        prompt = list(range(40))
        plain = answer(engine, prompt)
        adapted_answer = answer(adapted, prompt)
        assert adapted_answer.tokens == answer(alone, prompt).tokens != plain.tokens
        assert adapted_answer.events[0].stats.cached_tokens == 0
        assert answer(adapted, prompt).events[0].stats.cached_tokens == 39
        assert answer(engine, prompt).tokens == plain.tokens
        assert adapted.kind != engine.kind
        alone.close()
    finally:
        engine.close()


def test_an_adapter_of_the_head_is_not_supported_unmerged():
    engine = Engine(make_decoder(tied=False), max_num_seqs=1)
    try:
        assert (
            create_adapted_engine(engine, "head", {"head": LoraFactors(torch.zeros(1, 32), torch.zeros(61, 1))}) is None
        )
    finally:
        engine.close()


def test_ranks_larger_than_a_panel_are_supported():
    config = DecoderConfig(
        family="llama", vocab_size=61, context_length=64, hidden_size=32, intermediate_size=40, num_layers=1,
        num_heads=2, num_kv_heads=2, head_dim=16,
    )  # fmt: skip
    model = create(config, seed=3).decoder.eval()
    factors = random_factors(model, ranks=(33, 32, 64, 1))
    actual = AdaptedSequences(model, {"wide": factors}, ["wide"]).forward([0], [[1, 2, 3]])
    torch.testing.assert_close(actual[0], next_logits(merged_decoder(model, factors), [1, 2, 3]), rtol=1e-4, atol=1e-4)


class TestUnloading:
    @pytest.fixture
    def engine(self):
        engine = Engine(make_decoder(), max_num_seqs=4)
        yield engine
        engine.close()

    def settle(self, engine):
        """Wait until the engine's thread has taken a step since this call."""
        answer(engine, [1, 2, 3])

    def test_an_adapter_is_freed_with_its_cached_prefixes(self, engine):
        adapted = create_adapted_engine(engine, "mine", random_factors(MODEL))
        prompt = list(range(40))
        answer(engine, prompt)
        answer(adapted, prompt)
        tree = engine._scheduler.queues.kv_cache.tree
        num_cached = len(tree)
        adapted.close()
        self.settle(engine)
        assert engine._runner._adapters == {}
        assert len(tree) < num_cached
        assert tree.is_consistent
        assert answer(engine, prompt).events[0].stats.cached_tokens == 39  # the base's are still there

    def test_other_weights_under_the_name_meet_no_old_prefix(self, engine):
        prompt = list(range(40))
        answers = []
        for seed in (0, 1, 0):
            factors = random_factors(MODEL, seed=seed)
            adapted = create_adapted_engine(engine, "mine", factors)
            answers.append(answer(adapted, prompt))
            adapted.close()
            self.settle(engine)
        assert [recorder.events[0].stats.cached_tokens for recorder in answers] == [0, 0, 0]
        assert answers[0].tokens == answers[2].tokens != answers[1].tokens

    def test_a_request_that_runs_is_answered_to_its_end(self, engine):
        adapted = create_adapted_engine(engine, "mine", random_factors(MODEL))
        expected = answer(adapted, [5, 6, 7]).tokens
        recorder, started, done = EventRecorder(), threading.Event(), threading.Event()

        def on_event(event):
            recorder(event)
            started.set()
            if event.finish_reason is not None:
                done.set()

        adapted.submit(request([5, 6, 7], max_tokens=12), on_event)
        assert started.wait(20)
        adapted.close()
        assert done.wait(20)
        assert recorder.tokens == expected
        self.settle(engine)
        assert engine._runner._adapters == {}

    def test_an_adapter_that_is_loaded_again_stays(self, engine):
        factors = random_factors(MODEL)
        for _ in range(20):
            adapted = create_adapted_engine(engine, "mine", factors)
            adapted.close()
        adapted = create_adapted_engine(engine, "mine", factors)
        assert len(answer(adapted, [5, 6, 7]).tokens) == 12
