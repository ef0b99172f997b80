"""The compiled library computes what torch computes, and every row on its own, to the last bit."""

import copy
import logging
import random
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Lines, Listener, greedy, make, next_logits, request

from turnwise.engine.engine import Engine
from turnwise.engine.native import library as library_file
from turnwise.engine.native import native_runner as runner_file
from turnwise.engine.native.library import libraries, library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.native.sources import VARIANTS, file_name
from turnwise.engine.runners.model_runner import make_runner, preferred_dtype
from turnwise.engine.runners.torch_runner import TorchRunner
from turnwise.models.decoder_config import RopeConfig

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

# Sizes that fill neither a panel, a tile nor a group of heads, and every switch of a decoder.
ODD = {
    "wide groups": {"num_heads": 6, "num_kv_heads": 1},
    "one head each": {"num_heads": 3, "num_kv_heads": 3},
    "large heads": {"head_dim": 96, "hidden_size": 48},
    "huge heads": {"head_dim": 256},
    "few columns": {"intermediate_size": 1, "hidden_size": 16},
    "odd columns": {"intermediate_size": 67},
    "biases everywhere": {"qkv_bias": True, "out_bias": True, "mlp_bias": True},
    "normalised heads": {"qk_norm": True},
    "gelu with gates": {"activation": "gelu_tanh"},
    "silu without gates": {"gated_mlp": False},
    "no positions in a layer": {"no_rope_layers": frozenset({1})},
    "stretched positions": {"rope": RopeConfig(rope_type="llama3", factor=4.0, original_max_positions=32)},
    "tied": {"tied": True},
    "window of one": {"sliding_window": 1, "windowed_layers": frozenset({0, 1})},
    "window of seventeen": {"sliding_window": 17, "windowed_layers": frozenset({0})},
}


def biased(model):
    """New models have biases of zero and norms of one, which would hide them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def halved(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    return model


def lines_of(model, count, threads=None, quantize=None):
    most = model.config.context_length
    return Lines(NativeRunner(model, Lines.blocks(count, most), threads, quantize), count, most)


def prompts(lengths, seed=1, vocab=61):
    rng = random.Random(seed)
    return [[rng.randrange(vocab) for _ in range(length)] for length in lengths]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ODD)
def test_logits_are_torchs(name, half):
    model = biased(make(context=80, initializer_range=0.2, **ODD[name]))
    if half:
        halved(model)
    lines = lines_of(model, 3)
    assert lines.runner.packed.struct.head.bits == (16 if half else 32)
    talks = prompts([50, 1, 18])
    expected = torch.stack([next_logits(model, ids) for ids in talks])
    torch.testing.assert_close(lines.read([2, 0, 1], talks), expected, rtol=1e-4, atol=1e-4)
    for step in range(20):
        ids = [(7 * step + line) % 61 for line in range(3)]
        found = lines.read([2, 0, 1], [[id] for id in ids])
        talks = [[*talk, token] for talk, token in zip(talks, ids, strict=True)]
        expected = torch.stack([next_logits(model, talk) for talk in talks])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def check_alone_and_in_company(model, lengths, places, threads, chunk, quantize=None):
    """Prompts of these lengths, read together in parts and gone on with, give each chat the numbers it has alone."""
    asked = prompts(lengths)
    together = lines_of(model, len(asked), threads, quantize)
    first = {}
    for start in range(0, max(lengths), chunk):
        reading = [chat for chat, length in enumerate(lengths) if length > start]
        parts = [asked[chat][start : start + chunk] for chat in reading]
        found = together.read([places[chat] for chat in reading], parts)
        first |= dict(zip(reading, found, strict=True))
    second = together.read(places, [[9]] * len(asked))
    for chat, prompt in enumerate(asked):
        alone = lines_of(model, 1, 1, quantize)
        assert torch.equal(first[chat], alone.read([0], [prompt])[0])
        assert torch.equal(second[chat], alone.read([0], [[9]])[0])


MODEL = halved(biased(make(context=120)))


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=20),
    threads=st.integers(1, 3),
    chunk=st.integers(1, 90),
    data=st.data(),
)
def test_a_chat_has_the_same_numbers_to_the_last_bit_alone_and_in_company(lengths, threads, chunk, data):
    places = data.draw(st.permutations(range(len(lengths))))
    check_alone_and_in_company(MODEL, lengths, places, threads, chunk)


def test_reading_a_prompt_and_decoding_it_give_the_same_bits():
    (prompt,) = prompts([60])
    read, stepped = lines_of(MODEL, 1), lines_of(MODEL, 1)
    for token in prompt:
        last = stepped.read([0], [[token]])
    assert torch.equal(read.read([0], [prompt]), last)


def test_a_pass_gives_as_many_rows_as_are_wanted():
    (prompt,) = prompts([30])
    every = lines_of(MODEL, 1).read([0], [prompt], num_outputs=30)
    lines = lines_of(MODEL, 1)
    assert lines.read([0], [prompt[:20]], num_outputs=0).shape == (0, 61)
    assert torch.equal(lines.read([0], [prompt[20:]], num_outputs=4), every[-4:])


def test_a_copied_block_is_as_good_as_the_first():
    prompt, more = prompts([20, 3])
    lines = lines_of(MODEL, 2)
    lines.read([0], [prompt])
    lines.tables[1][0] = lines.tables[0][0]  # the whole block is shared, the other copied
    lines.runner.copy(lines.tables[0][1], lines.tables[1][1])
    lines.lengths[1] = 20
    assert torch.equal(lines.read([1], [more]), lines.read([0], [more]))


def test_weights_in_half_the_bytes_give_the_same_bits(monkeypatch):
    (prompt,) = prompts([40])
    half = lines_of(MODEL, 1)
    monkeypatch.setattr("turnwise.engine.native.packed_model._is_half", lambda name, weights: False)
    whole = lines_of(MODEL, 1)
    assert (half.runner.packed.struct.head.bits, whole.runner.packed.struct.head.bits) == (16, 32)
    assert torch.equal(half.read([0], [prompt]), whole.read([0], [prompt]))


def test_what_is_left_in_a_block_reaches_nobody():
    """Numbers that overflowed stay behind those of every later chat."""
    model = halved(make(context=64))
    expected = lines_of(model, 1).read([0], [[1, 2, 3]])
    lines = lines_of(model, 1)
    lines.runner._keys[:] = torch.nan
    lines.runner._values[:] = torch.inf
    assert torch.equal(lines.read([0], [[1, 2, 3]]), expected)


def test_engines_side_by_side():
    """Each has its own team of threads; none waits for another's."""
    engines = [Engine(MODEL, max_num_seqs=4) for _ in range(3)]
    listeners = []
    for number, prompt in enumerate(prompts([5, 30, 2, 44, 8, 21])):
        done, listener = threading.Event(), Listener()
        listeners.append((prompt, done, listener))

        def on_event(event, done=done, listener=listener):
            listener(event)
            if event.finish_reason:
                done.set()

        engines[number % 3].submit(request(prompt, most=20), on_event)
    for prompt, done, listener in listeners:
        assert done.wait(60)
        assert (listener.tokens, listener.finish) == greedy(MODEL, prompt, 20)
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("size", ["hidden_size", "head_dim"])
def test_sizes_of_no_whole_vectors_are_left_to_torch(size):
    assert isinstance(make_runner(make(**{size: 34}), 1), TorchRunner)
    assert isinstance(make_runner(make(), 1), NativeRunner)


def test_the_first_library_that_runs_here_and_whose_vectors_divide_the_sizes_is_taken():
    widths = [found.turnwise_width() for found in libraries()]
    assert library() is libraries()[0]
    for size in (8, 16, 24, 48):
        fitting = [found for found in libraries() if size % found.turnwise_width() == 0]
        assert library(size) is (fitting[0] if fitting else None)
    assert widths == sorted(widths, reverse=True)  # the best first


@pytest.mark.parametrize("number", range(len(libraries())))
def test_every_library_that_runs_here_computes_what_torch_computes(number, monkeypatch):
    found = libraries()[number]
    monkeypatch.setattr(runner_file, "library", lambda *sizes: found)
    model = biased(make(initializer_range=0.2, intermediate_size=67))
    asked = prompts([30, 1, 9, 2])
    expected = torch.stack([next_logits(model, ids) for ids in asked])
    lines = lines_of(model, 4)
    assert lines.runner.kind == f"native-{found.turnwise_arithmetic().decode()}"
    torch.testing.assert_close(lines.read(range(4), asked), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_half_the_size_give_the_numbers_of_their_float32_copies(dtype):
    model = biased(make(initializer_range=0.2)).to(dtype)
    exact = lines_of(copy.deepcopy(model).float(), 1).read([0], [[3, 1, 4, 1, 5]])
    runner = make_runner(model, 1)
    assert isinstance(runner, NativeRunner)
    assert torch.equal(Lines(runner, 1, 16).read([0], [[3, 1, 4, 1, 5]]), exact)


def test_nobody_has_to_name_a_type_for_the_quickest_and_exact_one():
    assert preferred_dtype("cpu") == torch.float32


@pytest.fixture
def looked_up_anew():
    libraries.cache_clear()
    yield
    libraries.cache_clear()


def test_without_a_library_torch_does_the_work(looked_up_anew, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(library_file, "FOLDER", tmp_path)
    with caplog.at_level(logging.INFO):
        assert isinstance(make_runner(make(), 1), TorchRunner)
    assert [record.levelname for record in caplog.records] == ["INFO"]  # nothing is wrong


def test_a_library_of_other_sources_is_said_and_torch_does_the_work(looked_up_anew, monkeypatch, caplog):
    monkeypatch.setattr(library_file, "source_hash", lambda: "another")
    assert isinstance(make_runner(make(), 1), TorchRunner)
    assert "another version" in caplog.text


def test_memory_that_nobody_uses_costs_nothing():
    """A cache of many chats is asked for at once, and taken block by block."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = Lines(NativeRunner(MODEL, 600_000), 1, 120)
    lines.read([0], [[5] * 40])
    assert lines.runner._keys.nbytes > 2**31
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # in units of 1024 bytes


LEAVES = """
import sys
sys.path.insert(0, {tests!r})
import torch
from reference import make, request
from turnwise.engine.engine import Engine
engine = Engine(make(context=4000), max_num_seqs=2)
engine.submit(request([1, 2], most=3900), lambda event: None)
{how}
"""


@pytest.mark.parametrize(
    "how",
    ["import time; time.sleep(0.3)", "import os; pid = os.fork(); print(os.waitpid(pid, 0)[1] if pid else 0)"],
    ids=["in the middle of an answer", "in a forked child"],
)
def test_a_process_ends_without_a_crash_whatever_the_engine_does(how):
    program = LEAVES.format(tests=str(Path(__file__).parent), how=how)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_library_that_does_not_load_is_said_and_torch_does_the_work(looked_up_anew, monkeypatch, tmp_path, caplog):
    (tmp_path / "_native_v3.so").write_bytes(b"\x7fELF but not for long")
    monkeypatch.setattr(library_file, "FOLDER", tmp_path)
    with caplog.at_level(logging.WARNING):
        assert isinstance(make_runner(make(), 1), TorchRunner)
    assert "slower engine" in caplog.text


def test_a_library_that_does_not_load_leaves_the_next_best_one(looked_up_anew, monkeypatch, tmp_path, caplog):
    last = [path for variant in VARIANTS if (path := library_file.FOLDER / file_name(variant)).exists()][-1]
    (tmp_path / file_name("own")).write_bytes(b"\x7fELF but not for long")
    (tmp_path / file_name("v3")).symlink_to(last)
    monkeypatch.setattr(library_file, "FOLDER", tmp_path)
    assert len(libraries()) == 1
    assert not caplog.records
