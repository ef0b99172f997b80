"""The pool of threads: results have the same bits on any number of threads, however work is cut and whoever is late."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from reference import Lines, make, prompts

from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.native.sources import FOLDER

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

LENGTHS = [50, 1, 18, 3]
MOST = 80
MODEL = make(context=MOST, hidden_size=64, intermediate_size=200, num_heads=4, num_kv_heads=2)
SIZES = [1, 2, 3, 5, 8]


def lines_on(threads, quantize=None):
    return Lines(NativeRunner(MODEL, Lines.blocks(len(LENGTHS), MOST), threads, quantize), len(LENGTHS), MOST)


def logits(lines):
    """A prompt pass in two parts, and steps of one, two, three and four sequences."""
    asked = prompts(LENGTHS)
    found = [lines.read(range(4), [ids[: len(ids) // 2 + 1] for ids in asked])]
    rest = [number for number, ids in enumerate(asked) if len(ids) > 1]
    found.append(lines.read(rest, [asked[number][len(asked[number]) // 2 + 1 :] for number in rest], num_outputs=1))
    found += [lines.read(range(1 + step % 4), [[step + 7]] * (1 + step % 4)) for step in range(8)]
    return torch.cat(found)


@pytest.fixture(scope="module", params=[None, "int8", "int4"])
def expected(request):
    return request.param, logits(lines_on(1, request.param))


@pytest.mark.parametrize("threads", SIZES)
def test_any_number_of_threads_gives_the_same_bits(expected, threads):
    quantize, bits = expected
    lines = lines_on(8, quantize)
    lines.runner.disturb(threads)
    assert lines.runner.active_threads == threads
    assert torch.equal(logits(lines), bits)


@pytest.mark.parametrize("seed", range(1, 13))
def test_chunks_of_random_sizes_give_the_same_bits(expected, seed):
    quantize, bits = expected
    lines = lines_on(4, quantize)
    lines.runner.disturb(1 + seed % 4, seed)
    assert torch.equal(logits(lines), bits)


@pytest.mark.parametrize("seed", range(1, 4))
def test_threads_that_lose_their_core_between_and_inside_chunks_change_no_bits(expected, seed):
    quantize, bits = expected
    lines = lines_on(3, quantize)
    lines.runner.disturb(3, seed, 400)
    assert torch.equal(logits(lines), bits)


def test_the_number_of_threads_may_change_between_passes(expected):
    quantize, bits = expected
    lines = lines_on(4, quantize)
    read, sizes = lines.read, iter([1, 4, 2, 3] * 10)

    def resized(*arguments, **keywords):
        lines.runner.disturb(next(sizes), 1)
        return read(*arguments, **keywords)

    lines.read = resized
    assert torch.equal(logits(lines), bits)


def test_in_a_forked_child_the_caller_computes_alone(expected):
    """None of the pool's threads is there, and nobody waits for them."""
    quantize, bits = expected
    lines = lines_on(4, quantize)
    lines.runner.disturb(4, 5)
    child = os.fork()
    if not child:
        os._exit(0 if torch.equal(logits(lines), bits) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_two_pools_do_not_wait_for_each_other(expected):
    quantize, bits = expected
    found = {}

    def work(number):
        lines = lines_on(3, quantize)
        lines.runner.disturb(3, number + 1, 200)
        found[number] = logits(lines)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[number], bits) for number in range(3))


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_the_pool_has_no_race_and_touches_no_foreign_memory(sanitizer, tmp_path):
    source = Path(__file__).parent / "native" / "pool_stress.cpp"
    flags = ["-std=c++17", "-O1", "-pthread", f"-fsanitize={sanitizer}", f"-I{FOLDER}"]
    built = subprocess.run(["g++", *flags, source, "-o", tmp_path / "stress"], capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"the sanitizer is not here: {built.stderr[-200:]}")
    done = subprocess.run([tmp_path / "stress", "8"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[:3000]
