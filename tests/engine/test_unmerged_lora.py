"""An adapter beside its base's weights computes what it does merged into them, in any company."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Lines, Listener, make, next_logits, request

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


def thin_of(
    model, *, ranks=(3, 40, 5, 1), dora=False, seed=0, places=("attention.qkv", "attention.out", "mlp.up", "mlp.down")
):
    """Random changes of every layer, some rows of a joined matrix without any."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for number in range(model.config.num_layers):
        for place, rank in zip(places, ranks, strict=False):
            weight = model.get_parameter(f"layers.{number}.{place}.weight")
            down = 0.5 * torch.randn(rank, weight.shape[1], generator=generator)
            up = 0.2 * torch.randn(len(weight), rank, generator=generator)
            up[len(weight) // 2 :, : rank // 2] = 0
            factor = 0.5 + torch.rand(len(weight), generator=generator) if dora else None
            found[f"layers.{number}.{place}"] = LoraFactors(down, up, factor)
    return found


def merged(model, thin):
    """A copy whose matrices are changed."""
    config = model.config
    copied = create(config, seed=0).decoder.eval()
    copied.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name, change in thin.items():
            weight = copied.get_parameter(f"{name}.weight")
            weight += change.up_OR @ change.down_RI
            if change.dora_scale_O is not None:
                weight *= change.dora_scale_O[:, None]
    return copied


class Company(Lines):
    """Lines that each belong to an adapter, or to none."""

    def __init__(self, model, adapters, owners, *, most=96, threads=1, quantize=None):
        count = len(owners)
        super().__init__(NativeRunner(model, self.blocks(count, most), threads, quantize), count, most)
        self.owners = owners
        for name, thin in adapters.items():
            assert self.runner.load_lora(name, thin)

    def read(self, lines, ids, num_outputs=1, hidden=False):
        spans = [
            BatchEntry(self.tables[line], self.lengths[line], part, num_outputs, adapter=self.owners[line])
            for line, part in zip(lines, ids, strict=True)
        ]
        for line, part in zip(lines, ids, strict=True):
            self.lengths[line] += len(part)
        return self.runner.forward(spans, hidden=hidden)


@pytest.mark.parametrize("dora", [False, True], ids=["LoRA", "DoRA"])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_those_of_the_merged_model(shape, dora):
    model = make(initializer_range=0.2, **SHAPES[shape])
    adapters = {"one": thin_of(model, dora=dora), "other": thin_of(model, ranks=(8, 8), seed=1)}
    models = {"": model} | {name: merged(model, thin) for name, thin in adapters.items()}
    owners = ["other", "", "one", "other", "one"]
    lines = Company(model, adapters, owners)
    talks = [[(3 * line + 5 * at) % 61 for at in range(length)] for line, length in enumerate([40, 3, 17, 1, 30])]
    for step in range(3):
        new = talks if not step else [[step + line] for line in range(5)]
        talks = new if not step else [[*talk, *more] for talk, more in zip(talks, new, strict=True)]
        found = lines.read(range(5), new)
        expected = torch.stack([next_logits(models[owner], talk) for owner, talk in zip(owners, talks, strict=True)])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


MODEL = make()
ADAPTERS = {"a": thin_of(MODEL), "b": thin_of(MODEL, ranks=(4, 4, 4, 4), dora=True, seed=2)}


@settings(max_examples=30, deadline=None)
@given(
    owners=st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=12),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
    quantize=st.sampled_from([None, "int8", "int4"]),
)
def test_a_chat_has_the_same_numbers_to_the_last_bit_alone_and_among_other_adapters(owners, threads, seed, quantize):
    rng = random.Random(seed)
    talks = [[rng.randrange(61) for _ in range(rng.randrange(1, 50))] for _ in owners]
    places = list(range(len(owners)))
    together = Company(MODEL, ADAPTERS, owners, threads=threads, quantize=quantize)
    first, second = together.read(places, talks), together.read(places, [[7, 8]] * len(owners), num_outputs=2)
    for line, (owner, talk) in enumerate(zip(owners, talks, strict=True)):
        alone = Company(MODEL, ADAPTERS, [owner], quantize=quantize)
        assert torch.equal(first[line], alone.read([0], [talk])[0])
        assert torch.equal(second[2 * line : 2 * line + 2], alone.read([0], [[7, 8]], num_outputs=2))


def answer(engine, prompt, **more):
    import threading

    done, listener = threading.Event(), Listener()

    def on_event(event):
        listener(event)
        if event.finish_reason is not None:
            done.set()

    engine.submit(request(prompt, most=12, **more), on_event)
    assert done.wait(20)
    return listener


def test_models_of_one_engine_share_no_reading_between_adapters():
    """Keys and values of the same tokens are others with an adapter."""
    engine = Engine(make(), max_num_seqs=4)
    try:
        thin = thin_of(MODEL)
        adapted = create_adapted_engine(engine, "mine", thin)
        alone = Engine(merged(MODEL, thin), max_num_seqs=4)
        prompt = list(range(40))
        plain = answer(engine, prompt)
        changed = answer(adapted, prompt)
        assert changed.tokens == answer(alone, prompt).tokens != plain.tokens
        assert changed.events[0].stats.cached_tokens == 0
        assert answer(adapted, prompt).events[0].stats.cached_tokens == 39
        assert answer(engine, prompt).tokens == plain.tokens
        assert adapted.kind != engine.kind
        alone.close()
    finally:
        engine.close()


def test_what_is_not_in_a_layer_is_not_computed_beside():
    engine = Engine(make(tied=False), max_num_seqs=1)
    try:
        assert (
            create_adapted_engine(engine, "head", {"head": LoraFactors(torch.zeros(1, 32), torch.zeros(61, 1))}) is None
        )
    finally:
        engine.close()


def test_an_adapter_of_wide_ranks_fits_panels():
    config = DecoderConfig(
        family="llama", vocab_size=61, context_length=64, hidden_size=32, intermediate_size=40, num_layers=1,
        num_heads=2, num_kv_heads=2, head_dim=16,
    )  # fmt: skip
    model = create(config, seed=3).decoder.eval()
    thin = thin_of(model, ranks=(33, 32, 64, 1))
    found = Company(model, {"wide": thin}, ["wide"]).read([0], [[1, 2, 3]])
    torch.testing.assert_close(found[0], next_logits(merged(model, thin), [1, 2, 3]), rtol=1e-4, atol=1e-4)
