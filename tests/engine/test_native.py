"""The compiled library: the logits of torch, bit-identical rows in every batch, and the choice of a variant."""

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
from reference import EventRecorder, PagedSequences, greedy, make_decoder, next_logits, request

from turnwise.engine.engine import Engine
from turnwise.engine.native import library as library_file
from turnwise.engine.native import native_runner as runner_file
from turnwise.engine.native.library import libraries, library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.native.sources import VARIANTS, file_name
from turnwise.engine.native.structs import WeightFormat
from turnwise.engine.runners.model_runner import make_runner, preferred_dtype
from turnwise.engine.runners.torch_runner import TorchRunner
from turnwise.models.decoder_config import RopeConfig

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

# Sizes that are no multiples of a panel, a block or a group of heads, and every switch of a decoder.
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


def head_format(sequences):
    """Storage format of the LM head."""
    return sequences.runner.packed.struct.lm_head.segments[0].format


def with_random_biases(model):
    """Randomise biases and norms: the initial zeros and ones would hide errors."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def to_bfloat16(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    return model


def sequences_of(model, count, threads=None, quantize=None):
    max_tokens = model.config.context_length
    return PagedSequences(
        NativeRunner(model, PagedSequences.num_blocks(count, max_tokens), threads, quantize), count, max_tokens
    )


def prompts(lengths, seed=1, vocab=61):
    rng = random.Random(seed)
    return [[rng.randrange(vocab) for _ in range(length)] for length in lengths]


@pytest.mark.parametrize("is_bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ODD)
def test_logits_equal_those_of_torch(name, is_bfloat16):
    model = with_random_biases(make_decoder(context=80, initializer_range=0.2, **ODD[name]))
    if is_bfloat16:
        to_bfloat16(model)
    sequences = sequences_of(model, 3)
    assert head_format(sequences) == (WeightFormat.BFLOAT16 if is_bfloat16 else WeightFormat.FLOAT32)
    conversations = prompts([50, 1, 18])
    expected = torch.stack([next_logits(model, ids) for ids in conversations])
    torch.testing.assert_close(sequences.forward([2, 0, 1], conversations), expected, rtol=1e-4, atol=1e-4)
    for step in range(20):
        ids = [(7 * step + number) % 61 for number in range(3)]
        actual = sequences.forward([2, 0, 1], [[id] for id in ids])
        conversations = [[*conversation, token] for conversation, token in zip(conversations, ids, strict=True)]
        expected = torch.stack([next_logits(model, conversation) for conversation in conversations])
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def check_alone_and_in_company(model, lengths, order, threads, chunk, quantize=None):
    """Prompts, prefilled together in chunks and continued, have the logits of each sequence alone."""
    prompt_ids = prompts(lengths)
    together = sequences_of(model, len(prompt_ids), threads, quantize)
    first = {}
    for start in range(0, max(lengths), chunk):
        active = [number for number, length in enumerate(lengths) if length > start]
        chunks = [prompt_ids[number][start : start + chunk] for number in active]
        actual = together.forward([order[number] for number in active], chunks)
        first |= dict(zip(active, actual, strict=True))
    second = together.forward(order, [[9]] * len(prompt_ids))
    for number, prompt in enumerate(prompt_ids):
        alone = sequences_of(model, 1, 1, quantize)
        assert torch.equal(first[number], alone.forward([0], [prompt])[0])
        assert torch.equal(second[number], alone.forward([0], [[9]])[0])


MODEL = to_bfloat16(with_random_biases(make_decoder(context=120)))


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=20),
    threads=st.integers(1, 3),
    chunk=st.integers(1, 90),
    data=st.data(),
)
def test_outputs_are_bit_identical_alone_and_in_a_batch(lengths, threads, chunk, data):
    order = data.draw(st.permutations(range(len(lengths))))
    check_alone_and_in_company(MODEL, lengths, order, threads, chunk)


def test_prefill_and_decoding_token_by_token_are_bit_identical():
    (prompt,) = prompts([60])
    forward, stepped = sequences_of(MODEL, 1), sequences_of(MODEL, 1)
    for token in prompt:
        last = stepped.forward([0], [[token]])
    assert torch.equal(forward.forward([0], [prompt]), last)


def test_a_forward_pass_returns_the_requested_output_rows():
    (prompt,) = prompts([30])
    all_outputs = sequences_of(MODEL, 1).forward([0], [prompt], num_outputs=30)
    sequences = sequences_of(MODEL, 1)
    assert sequences.forward([0], [prompt[:20]], num_outputs=0).shape == (0, 61)
    assert torch.equal(sequences.forward([0], [prompt[20:]], num_outputs=4), all_outputs[-4:])


def test_a_copied_block_gives_the_same_logits():
    prompt, more = prompts([20, 3])
    sequences = sequences_of(MODEL, 2)
    sequences.forward([0], [prompt])
    sequences.tables[1][0] = sequences.tables[0][0]  # the full block is shared, the last one copied
    sequences.runner.copy(sequences.tables[0][1], sequences.tables[1][1])
    sequences.lengths[1] = 20
    assert torch.equal(sequences.forward([1], [more]), sequences.forward([0], [more]))


def test_weights_packed_as_bfloat16_give_the_same_bits_as_float32(monkeypatch):
    (prompt,) = prompts([40])
    is_bfloat16 = sequences_of(MODEL, 1)
    monkeypatch.setattr("turnwise.engine.native.packed_model._is_exact_in_bfloat16", lambda name, weights: False)
    full = sequences_of(MODEL, 1)
    assert (head_format(is_bfloat16), head_format(full)) == (WeightFormat.BFLOAT16, WeightFormat.FLOAT32)
    assert torch.equal(is_bfloat16.forward([0], [prompt]), full.forward([0], [prompt]))


def test_old_values_in_a_block_do_not_affect_later_sequences():
    """Non-finite values stay at positions after the end of later sequences."""
    model = to_bfloat16(make_decoder(context=64))
    expected = sequences_of(model, 1).forward([0], [[1, 2, 3]])
    sequences = sequences_of(model, 1)
    sequences.runner._keys[:] = torch.nan
    sequences.runner._values[:] = torch.inf
    assert torch.equal(sequences.forward([0], [[1, 2, 3]]), expected)


def test_several_engines_run_at_the_same_time():
    """Each engine has its own thread pool."""
    engines = [Engine(MODEL, max_num_seqs=4) for _ in range(3)]
    recorders = []
    for number, prompt in enumerate(prompts([5, 30, 2, 44, 8, 21])):
        process, recorder = threading.Event(), EventRecorder()
        recorders.append((prompt, process, recorder))

        def on_event(event, process=process, recorder=recorder):
            recorder(event)
            if event.finish_reason:
                process.set()

        engines[number % 3].submit(request(prompt, max_tokens=20), on_event)
    for prompt, process, recorder in recorders:
        assert process.wait(60)
        assert (recorder.tokens, recorder.finish) == greedy(MODEL, prompt, 20)
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("size", ["hidden_size", "head_dim"])
def test_sizes_that_are_not_multiples_of_the_vector_width_use_torch(size):
    assert isinstance(make_runner(make_decoder(**{size: 34}), 1), TorchRunner)
    assert isinstance(make_runner(make_decoder(), 1), NativeRunner)


def test_the_best_library_whose_vector_width_divides_the_sizes_is_used():
    widths = [actual.turnwise_vector_width() for actual in libraries()]
    assert library() is libraries()[0]
    for size in (8, 16, 24, 48):
        fitting = [actual for actual in libraries() if size % actual.turnwise_vector_width() == 0]
        assert library(size) is (fitting[0] if fitting else None)
    assert widths == sorted(widths, reverse=True)  # the widest first


@pytest.mark.parametrize("number", range(len(libraries())))
def test_every_usable_library_gives_the_logits_of_torch(number, monkeypatch):
    actual = libraries()[number]
    monkeypatch.setattr(runner_file, "library", lambda *sizes: actual)
    model = with_random_biases(make_decoder(initializer_range=0.2, intermediate_size=67))
    prompt_ids = prompts([30, 1, 9, 2])
    expected = torch.stack([next_logits(model, ids) for ids in prompt_ids])
    sequences = sequences_of(model, 4)
    assert sequences.runner.kind == f"native-{actual.turnwise_instruction_set().decode()}"
    torch.testing.assert_close(sequences.forward(range(4), prompt_ids), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_give_the_logits_of_their_float32_copies(dtype):
    model = with_random_biases(make_decoder(initializer_range=0.2)).to(dtype)
    exact = sequences_of(copy.deepcopy(model).float(), 1).forward([0], [[3, 1, 4, 1, 5]])
    runner = make_runner(model, 1)
    assert isinstance(runner, NativeRunner)
    assert torch.equal(PagedSequences(runner, 1, 16).forward([0], [[3, 1, 4, 1, 5]]), exact)


def test_the_default_dtype_on_cpus_is_float32():
    assert preferred_dtype("cpu") == torch.float32


@pytest.fixture
def fresh_library_cache():
    libraries.cache_clear()
    yield
    libraries.cache_clear()


def test_without_a_library_torch_is_used(fresh_library_cache, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(library_file, "FOLDER", tmp_path)
    with caplog.at_level(logging.INFO):
        assert isinstance(make_runner(make_decoder(), 1), TorchRunner)
    assert [record.levelname for record in caplog.records] == ["INFO"]  # not a warning


def test_a_library_of_other_sources_is_reported_and_torch_is_used(fresh_library_cache, monkeypatch, caplog):
    monkeypatch.setattr(library_file, "source_hash", lambda: "another")
    assert isinstance(make_runner(make_decoder(), 1), TorchRunner)
    assert "another version" in caplog.text


def test_unused_cache_blocks_take_no_physical_memory():
    """A large cache is allocated at once, and physical memory is taken block by block."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sequences = PagedSequences(NativeRunner(MODEL, 600_000), 1, 120)
    sequences.forward([0], [[5] * 40])
    assert sequences.runner._keys.nbytes > 2**31
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # in units of 1024 bytes


EXIT_PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import torch
from reference import make_decoder, request
from turnwise.engine.engine import Engine
engine = Engine(make_decoder(context=4000), max_num_seqs=2)
engine.submit(request([1, 2], max_tokens=3900), lambda event: None)
{ending}
"""


@pytest.mark.parametrize(
    "ending",
    ["import time; time.sleep(0.3)", "import os; pid = os.fork(); print(os.waitpid(pid, 0)[1] if pid else 0)"],
    ids=["during an answer", "in a forked child"],
)
def test_a_process_exits_cleanly_while_the_engine_runs(ending):
    program = EXIT_PROGRAM.format(tests=str(Path(__file__).parent), ending=ending)
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_library_that_does_not_load_is_reported_and_torch_is_used(fresh_library_cache, monkeypatch, tmp_path, caplog):
    (tmp_path / "_native_v3.so").write_bytes(b"\x7fELF but not for long")
    monkeypatch.setattr(library_file, "FOLDER", tmp_path)
    with caplog.at_level(logging.WARNING):
        assert isinstance(make_runner(make_decoder(), 1), TorchRunner)
    assert "slower torch engine" in caplog.text


def test_the_next_best_library_is_used_if_one_does_not_load(fresh_library_cache, monkeypatch, tmp_path, caplog):
    last = [path for variant in VARIANTS if (path := library_file.FOLDER / file_name(variant)).exists()][-1]
    (tmp_path / file_name("custom")).write_bytes(b"\x7fELF but not for long")
    (tmp_path / file_name("v3")).symlink_to(last)
    monkeypatch.setattr(library_file, "FOLDER", tmp_path)
    assert len(libraries()) == 1
    assert not caplog.records
