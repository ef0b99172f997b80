"""The compiled library validates its arguments and rejects invalid ones with a message."""

import random
from array import array
from contextlib import suppress
from ctypes import byref

import pytest
import torch
from reference import make_decoder

from turnwise.engine.batch import BatchEntry
from turnwise.engine.native import native_runner as runner_file
from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.native.structs import Batch, LayerWeights, ModelWeights, WeightFormat

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

MODEL = make_decoder(context=64)
PANEL = 0 if library() is None else library().turnwise_panel_size()
EXTREMES = [-(2**31), -5, -1, 0, 1, 3, 2**16, 2**24 + 1, 2**31 - 1]


FLAGS = {"is_layer_norm", "is_gelu", "uses_rope", "is_gated"}  # any integer is valid


def entries(ids=(1, 2, 3), blocks=(0, 1), start=0, num_outputs=1):
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
def test_an_invalid_batch_is_rejected_and_the_next_is_computed(changes, message):
    runner = NativeRunner(MODEL, 4)
    expected = runner.forward(entries())
    with pytest.raises(ValueError, match=message):
        runner.forward(entries(**changes))
    assert torch.equal(runner.forward(entries()), expected)


def set_layer(field, value):
    return lambda model: setattr(model.layers[0], field, value)


def add_panel(matrix):
    """More outputs than the model has: callers would write behind their buffers."""

    def change(model):
        packed = getattr(model.layers[1], matrix)
        packed.outputs += PANEL
        packed.segments[0].num_panels += 1

    return change


def set_segment(field, value):
    return lambda model: setattr(model.layers[0].qkv.segments[0], field, value)


INVALID_MODELS = {
    "the attention window is negative": set_layer("window", -5),
    "the epsilon of the norms is not finite": lambda model: setattr(model, "norm_eps", float("nan")),
    "a size of the model is out of range": lambda model: setattr(model, "num_heads", 10**9),
    "the number of layers is out of range": lambda model: setattr(model, "num_layers", 10**9),
    "a matrix has an unknown format": set_segment("format", 99),
    "a matrix has no weights": set_segment("weights", None),
    "a part of a matrix has no outputs": set_segment("num_panels", 0),
    "the outputs of a matrix do not match its parts": set_segment("num_panels", 1),
    "a quantized matrix has no scales": set_segment("format", WeightFormat.INT8),
}


@pytest.mark.parametrize(
    ("message", "change"),
    [
        *INVALID_MODELS.items(),
        *(("the outputs of a matrix do not match the model", add_panel(name)) for name in ("qkv", "out", "up", "down")),
    ],
)
def test_an_invalid_model_is_rejected(message, change, monkeypatch):
    packed = NativeRunner(MODEL, 4).packed
    change(packed.struct)
    monkeypatch.setattr(runner_file, "PackedModel", lambda *arguments: packed)
    with pytest.raises(ValueError, match=f"The compiled library rejects the model: {message}"):
        NativeRunner(MODEL, 4)


@pytest.mark.parametrize(
    ("weight_format", "message"),
    [
        (WeightFormat.INT4_GROUP_MIN, "no minimums"),
        (WeightFormat.INT8_SUPER_BLOCK, "no minimums"),
        (WeightFormat.INT8_HALF_SUPER_BLOCK, "no super scales"),
    ],
)
def test_a_quantized_matrix_without_an_array_of_its_format_is_rejected(weight_format, message, monkeypatch):
    packed = NativeRunner(MODEL, 4, quantize="int8").packed
    packed.struct.layers[0].qkv.segments[0].format = weight_format
    monkeypatch.setattr(runner_file, "PackedModel", lambda *arguments: packed)
    with pytest.raises(ValueError, match=message):
        NativeRunner(MODEL, 4)


def test_logits_of_too_many_rows_are_rejected():
    runner = NativeRunner(MODEL, 4)
    assert runner._library.turnwise_logits(runner._handle, None, 1, None) == 2
    numbers = torch.empty(8)
    assert runner._library.turnwise_logits(runner._handle, numbers.data_ptr(), 2**16 + 1, numbers.data_ptr()) == 2


class FuzzedLibrary:
    """The library with one integer of every batch changed; `codes` are its return codes."""

    def __init__(self, library_handle):
        self.library_handle, self.rng, self.codes = library_handle, random.Random(0), set()

    def __getattr__(self, name):
        return getattr(self.library_handle, name)

    def turnwise_forward(self, handle, batch, cache, out):
        batch_struct = batch._obj
        name = self.rng.choice([name for name, kind in Batch._fields_ if "int" in kind.__name__])
        present = getattr(batch_struct, name)
        # Sizes must stay within the arrays, or be out of range.
        setattr(batch_struct, name, self.rng.choice([n for n in EXTREMES if n <= present or n > 2**24]))
        code = self.library_handle.turnwise_forward(handle, batch, cache, out)
        self.codes.add(code)
        return code


def test_a_batch_with_any_field_changed_is_rejected_or_computed():
    """Also run this with a build of AddressSanitizer."""
    runner = NativeRunner(MODEL, 4)
    fuzzed = runner._library = FuzzedLibrary(runner._library)
    for _ in range(300):
        with suppress(ValueError):
            runner.forward(entries())
    assert {0, 2} <= fuzzed.codes <= {0, 2}


def test_random_sizes_in_a_model_are_rejected_before_memory_is_allocated():
    rng, runner = random.Random(1), NativeRunner(MODEL, 4)
    create, library_handle = runner._library.turnwise_create, runner._library
    for _ in range(300):
        struct = ModelWeights.from_buffer_copy(runner.packed.struct)
        layers = (LayerWeights * 2)(*(LayerWeights.from_buffer_copy(struct.layers[i]) for i in range(2)))
        struct.layers = layers
        target = rng.choice([struct, layers[rng.randrange(2)]])
        names = [name for name, kind in target._fields_ if "int" in kind.__name__ and name not in FLAGS]
        name = rng.choice(names)
        present = getattr(target, name)
        # A larger number of layers within the range would be read beyond the end of the array.
        largest = present if name == "num_layers" else 2**31
        value = rng.choice(
            [number for number in EXTREMES if number != present and (number <= largest or number > 2**24)]
        )
        setattr(target, name, value)
        handle = create(byref(struct), 1)
        if handle:
            library_handle.turnwise_destroy(handle)
            assert 0 < value <= getattr(runner.packed.struct, name, 2**24) or name in ("window", "num_positions")
        else:
            assert library_handle.turnwise_last_error()
