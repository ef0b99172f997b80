"""The compiled library checks what it is given, and refuses it with a sentence instead of touching foreign memory."""

import random
from array import array
from contextlib import suppress
from ctypes import byref

import pytest
import torch
from reference import make

from turnwise.engine.batch import BatchEntry
from turnwise.engine.native import native_runner as runner_file
from turnwise.engine.native.library import Batch, Layer, Model, library
from turnwise.engine.native.native_runner import NativeRunner

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

MODEL = make(context=64)
EXTREMES = [-(2**31), -5, -1, 0, 1, 3, 2**16, 2**24 + 1, 2**31 - 1]


FLAGS = {"layer_norm", "gelu", "half_embed", "rotated", "gated"}  # any number is true or false


def spans(ids=(1, 2, 3), blocks=(0, 1), start=0, num_outputs=1):
    return [BatchEntry(array("i", blocks), start, list(ids), num_outputs)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": (1, 61)}, "not in the vocabulary"),
        ({"ids": (-1,)}, "not in the vocabulary"),
        ({"blocks": (0, 4)}, "not in the cache"),
        ({"blocks": (-1,)}, "not in the cache"),
        ({"blocks": ()}, "beyond its sequence's blocks"),
        ({"start": 30}, "beyond its sequence's blocks"),
        ({"start": 62, "blocks": (0, 1, 2, 3, 0)}, "beyond the context"),
        ({"start": -2}, "beyond the context"),
    ],
)
def test_a_batch_outside_its_bounds_is_refused_and_the_next_is_computed(changes, message):
    runner = NativeRunner(MODEL, 4)
    expected = runner.forward(spans())
    with pytest.raises(ValueError, match=message):
        runner.forward(spans(**changes))
    assert torch.equal(runner.forward(spans()), expected)


@pytest.mark.parametrize("field", ["window", "qkv", "up", "norm_eps", "heads", "layers", "head_dim"])
def test_a_model_outside_its_bounds_is_refused(field, monkeypatch):
    runner = NativeRunner(MODEL, 4)
    struct, layer = runner.packed.struct, runner.packed.struct.layer[0]
    if field == "window":
        layer.window = -5
    elif field in ("qkv", "up"):
        getattr(layer, field).outputs = 16
    elif field == "norm_eps":
        struct.norm_eps = float("nan")
    else:
        setattr(struct, field, 10**9)
    monkeypatch.setattr(runner_file, "PackedModel", lambda *arguments: runner.packed)
    with pytest.raises(ValueError, match="The compiled library refuses the model"):
        NativeRunner(MODEL, 4)


class Fuzzed:
    """The library, with one number of every batch changed; `seen` are the codes that it returned."""

    def __init__(self, found):
        self.found, self.rng, self.seen = found, random.Random(0), set()

    def __getattr__(self, name):
        return getattr(self.found, name)

    def turnwise_forward(self, handle, batch, cache, out):
        changed = batch._obj
        name = self.rng.choice([name for name, kind in Batch._fields_ if "int" in kind.__name__])
        present = getattr(changed, name)
        # Sizes must not be larger than the arrays are, or out of all range.
        setattr(changed, name, self.rng.choice([n for n in EXTREMES if n <= present or n > 2**24]))
        code = self.found.turnwise_forward(handle, batch, cache, out)
        self.seen.add(code)
        return code


def test_a_batch_with_any_number_changed_is_refused_or_computed():
    """The library says no or stays within its memory; run it with a build of AddressSanitizer too."""
    runner = NativeRunner(MODEL, 4)
    fuzzed = runner._library = Fuzzed(runner._library)
    for _ in range(300):
        with suppress(ValueError):
            runner.forward(spans())
    assert {0, 2} <= fuzzed.seen <= {0, 2}


def test_random_numbers_in_a_model_are_refused_before_anything_is_allocated():
    rng, runner = random.Random(1), NativeRunner(MODEL, 4)
    create, found = runner._library.turnwise_create, runner._library
    for _ in range(300):
        struct = Model.from_buffer_copy(runner.packed.struct)
        layers = (Layer * 2)(*(Layer.from_buffer_copy(struct.layer[i]) for i in range(2)))
        struct.layer = layers
        target = rng.choice([struct, layers[rng.randrange(2)]])
        names = [name for name, kind in target._fields_ if "int" in kind.__name__ and name not in FLAGS]
        name = rng.choice(names)
        present = getattr(target, name)
        # More layers than the array has would be read beyond its end: sizes must not be larger than what they describe.
        most = present if name == "layers" else 2**31
        value = rng.choice([number for number in EXTREMES if number != present and (number <= most or number > 2**24)])
        setattr(target, name, value)
        handle = create(byref(struct), 1)
        if handle:
            found.turnwise_destroy(handle)
            assert 0 < value <= getattr(runner.packed.struct, name, 2**24) or name in ("window", "context")
        else:
            assert found.turnwise_error()
