"""The thread pool: bit-identical results with any number of threads, chunk sizes and delays."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from reference import PagedSequences, make_decoder, prompts

from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.native.sources import FOLDER

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

LENGTHS = [50, 1, 18, 3]
CONTEXT = 80
MODEL = make_decoder(context=CONTEXT, hidden_size=64, intermediate_size=200, num_heads=4, num_kv_heads=2)
SIZES = [1, 2, 3, 5, 8]


def sequences_on(threads, quantize=None):
    return PagedSequences(
        NativeRunner(MODEL, PagedSequences.num_blocks(len(LENGTHS), CONTEXT), threads, quantize), len(LENGTHS), CONTEXT
    )


def logits(sequences):
    """Logits of a prefill in two chunks, and of decode steps with one to four sequences."""
    prompt_ids = prompts(LENGTHS)
    actual = [sequences.forward(range(4), [ids[: len(ids) // 2 + 1] for ids in prompt_ids])]
    longer = [number for number, ids in enumerate(prompt_ids) if len(ids) > 1]
    actual.append(
        sequences.forward(
            longer, [prompt_ids[number][len(prompt_ids[number]) // 2 + 1 :] for number in longer], num_outputs=1
        )
    )
    actual += [sequences.forward(range(1 + step % 4), [[step + 7]] * (1 + step % 4)) for step in range(8)]
    return torch.cat(actual)


@pytest.fixture(scope="module", params=[None, "int8", "int4"])
def expected(request):
    return request.param, logits(sequences_on(1, request.param))


@pytest.mark.parametrize("threads", SIZES)
def test_any_number_of_threads_gives_the_same_bits(expected, threads):
    quantize, bits = expected
    sequences = sequences_on(8, quantize)
    sequences.runner.set_test_perturbation(threads)
    assert sequences.runner.active_threads == threads
    assert torch.equal(logits(sequences), bits)


@pytest.mark.parametrize("seed", range(1, 13))
def test_chunks_of_random_sizes_give_the_same_bits(expected, seed):
    quantize, bits = expected
    sequences = sequences_on(4, quantize)
    sequences.runner.set_test_perturbation(1 + seed % 4, seed)
    assert torch.equal(logits(sequences), bits)


@pytest.mark.parametrize("seed", range(1, 4))
def test_threads_delayed_between_and_inside_chunks_give_the_same_bits(expected, seed):
    quantize, bits = expected
    sequences = sequences_on(3, quantize)
    sequences.runner.set_test_perturbation(3, seed, 400)
    assert torch.equal(logits(sequences), bits)


def test_the_number_of_threads_may_change_between_passes(expected):
    quantize, bits = expected
    sequences = sequences_on(4, quantize)
    forward, sizes = sequences.forward, iter([1, 4, 2, 3] * 10)

    def forward_with_new_limit(*arguments, **keywords):
        sequences.runner.set_test_perturbation(next(sizes), 1)
        return forward(*arguments, **keywords)

    sequences.forward = forward_with_new_limit
    assert torch.equal(logits(sequences), bits)


def test_in_a_forked_child_the_caller_computes_alone(expected):
    """The child has none of the pool's threads, and must not wait for them."""
    quantize, bits = expected
    sequences = sequences_on(4, quantize)
    sequences.runner.set_test_perturbation(4, 5)
    child = os.fork()
    if not child:
        os._exit(0 if torch.equal(logits(sequences), bits) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_two_pools_do_not_wait_for_each_other(expected):
    quantize, bits = expected
    actual = {}

    def work(number):
        sequences = sequences_on(3, quantize)
        sequences.runner.set_test_perturbation(3, number + 1, 200)
        actual[number] = logits(sequences)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(actual[number], bits) for number in range(3))


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_the_pool_passes_thread_and_address_sanitizers(sanitizer, tmp_path):
    source = Path(__file__).parent / "native" / "pool_stress.cpp"
    flags = ["-std=c++17", "-O1", "-pthread", f"-fsanitize={sanitizer}", f"-I{FOLDER}"]
    compiler = subprocess.run(["g++", *flags, source, "-o", tmp_path / "stress"], capture_output=True, text=True)
    if compiler.returncode:
        pytest.skip(f"the sanitizer is not available: {compiler.stderr[-200:]}")
    process = subprocess.run([tmp_path / "stress", "8"], capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, ""), process.stderr[:3000]
