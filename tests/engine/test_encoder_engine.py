"""The compiled encoder: hidden states of torch, and bit-identical vectors alone and in any batch."""

import dataclasses
import threading
from ctypes import byref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.engine import encoder_engine as engine_file
from turnwise.engine.encoder_engine import EncoderEngine, batch_by_length
from turnwise.engine.native.library import library
from turnwise.engine.native.native_encoder import NativeEncoder
from turnwise.engine.native.structs import Pooling, WeightFormat
from turnwise.models.encoder import Encoder
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_weights import RandomEncoderWeights

pytestmark = pytest.mark.usefixtures("one_thread")
needs_library = pytest.mark.skipif(library() is None, reason="no compiled library")

CONFIG = EncoderConfig(
    vocab_size=90, hidden_size=96, num_layers=2, num_heads=3, intermediate_size=160, num_positions=70
)
SWITCHES = {
    "as it is": {},
    "tanh": {"activation": "gelu_tanh"},
    "odd intermediate size": {"intermediate_size": 67},
    "one head": {"num_heads": 1},
    "small heads": {"hidden_size": 48, "num_heads": 3},
    "large epsilon": {"norm_eps": 0.1},
}


class RoundedWeights(RandomEncoderWeights):
    """Weights that bfloat16 represents exactly."""

    def tensor(self, name):
        """A rounded weight."""
        return super().tensor(name).bfloat16().float()


@pytest.fixture(scope="module")
def encoders():
    """An encoder with float weights, and one with 8-bit weights."""
    return [NativeEncoder(RandomEncoderWeights(CONFIG), is_int8=is_int8, threads=3) for is_int8 in (False, True)]


@pytest.fixture(scope="module")
def engine():
    return EncoderEngine(RandomEncoderWeights(CONFIG), "mean")


def sequences_of(*lengths):
    """Sequences of these lengths."""
    return [[(7 * length + 13 * i) % CONFIG.vocab_size for i in range(length)] for length in lengths]


def reference(weights, sequences):
    """Hidden states of all tokens, computed by torch."""
    encoder = Encoder(weights)
    return torch.cat([encoder.hidden_states(torch.tensor(ids)) for ids in sequences]).numpy()


@needs_library
@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("weights_type", [RandomEncoderWeights, RoundedWeights])
def test_hidden_states_are_those_of_torch(switch, weights_type):
    weights = weights_type(dataclasses.replace(CONFIG, **SWITCHES[switch]))
    sequences = sequences_of(1, 2, 15, 16, 17, 33, 70)
    encoder = NativeEncoder(weights)
    is_bf16 = encoder.packed.struct.embed_format == WeightFormat.BFLOAT16
    assert is_bf16 == (weights_type is RoundedWeights)
    hidden = encoder.forward(sequences, Pooling.NONE)
    np.testing.assert_allclose(hidden, reference(weights, sequences), rtol=0, atol=2e-5)


@needs_library
def test_gelu_by_erf_has_a_small_error_everywhere():
    config = dataclasses.replace(CONFIG, num_layers=1)
    weights = RandomEncoderWeights(config)
    weights.tensor("layers.0.up.weight").mul_(8)  # inputs of about -30 to 30
    sequences = sequences_of(70)
    hidden = NativeEncoder(weights).forward(sequences, Pooling.NONE)
    np.testing.assert_allclose(hidden, reference(weights, sequences), rtol=0, atol=2e-5)


@needs_library
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_pooled_and_have_length_one(pooling):
    weights, sequences = RandomEncoderWeights(CONFIG), sequences_of(1, 5, 40)
    vectors = np.array(EncoderEngine(weights, pooling).embed(sequences))
    hidden = [reference(weights, [ids]) for ids in sequences]
    expected = np.array([h.mean(axis=0) if pooling == "mean" else h[0] for h in hidden])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@needs_library
@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=40),
    is_int8=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_a_sequence_has_the_same_vector_alone_and_in_any_batch(encoders, lengths, is_int8, seed):
    """Also when work is cut into random chunks and computed by three threads."""
    encoder = encoders[is_int8]
    sequences = sequences_of(*lengths)
    encoder.set_test_perturbation(3, seed | 1, 0)
    together = encoder.forward(sequences, Pooling.MEAN, normalize=True)
    encoder.set_test_perturbation(1)
    for number in {0, len(lengths) // 2, len(lengths) - 1}:
        alone = encoder.forward([sequences[number]], Pooling.MEAN, normalize=True)
        assert np.array_equal(alone[0], together[number])


@needs_library
def test_int8_is_close_and_smaller(encoders):
    weights, sequences = RandomEncoderWeights(CONFIG), sequences_of(3, 20, 64)
    exact, rounded = (EncoderEngine(weights, "mean", is_int8=is_int8).embed(sequences) for is_int8 in (False, True))
    cosines = (np.array(exact) * np.array(rounded)).sum(axis=1)
    assert (cosines > 0.995).all()
    assert (cosines < 1 - 1e-9).any()
    assert encoders[1].packed.nbytes < encoders[0].packed.nbytes / 2.5


@needs_library
@pytest.mark.parametrize(("sequences", "message"), [([[]], "length"), ([[0] * 71], "length"), ([[90]], "vocabulary")])
def test_the_library_rejects_what_would_leave_its_arrays(encoders, sequences, message):
    with pytest.raises(ValueError, match=message):
        encoders[0].forward(sequences, Pooling.MEAN)


@needs_library
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: setattr(model, "num_layers", 0), "the number of layers is out of range"),
        (lambda model: setattr(model, "num_heads", 5), "must be a multiple of the number of heads"),
        (lambda model: setattr(model, "embed_format", 9), "the embeddings have an unknown format"),
        (lambda model: setattr(model, "embed_scales", model.embed), "8-bit embeddings, and only they, need scales"),
        (lambda model: setattr(model, "position_embed", None), "the layers or the embeddings are missing"),
        (lambda model: setattr(model.layers[0].up, "outputs", 10**6), "the outputs of a matrix do not match the model"),
    ],
)
def test_the_library_rejects_an_invalid_encoder(change, message):
    packed = NativeEncoder(RandomEncoderWeights(CONFIG)).packed
    change(packed.struct)
    assert library().turnwise_create_encoder(byref(packed.struct), 1) is None
    assert message in library().turnwise_last_error().decode()


def test_results_are_in_the_order_of_the_sequences(engine):
    sequences = sequences_of(*range(1, 71))
    vectors = engine.embed(sequences)
    assert vectors == [engine.embed([ids])[0] for ids in sequences]


def test_threads_share_an_engine(engine):
    sequences = sequences_of(4, 60, 9)
    expected, results = engine.embed(sequences), [None] * 4

    def embed(number):
        results[number] = engine.embed(sequences)

    threads = [threading.Thread(target=embed, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_numbers_that_are_not_finite_are_an_error():
    weights = RandomEncoderWeights(CONFIG)
    weights.tensor("layers.1.up.weight")[3] = float("nan")
    with pytest.raises(TurnwiseError, match="not finite"):
        EncoderEngine(weights, "mean").embed(sequences_of(3))


def test_torch_computes_without_the_library(engine, monkeypatch):
    monkeypatch.setattr(engine_file, "library_for_encoder", lambda config: None)
    sequences = sequences_of(1, 30, 12)
    vectors = EncoderEngine(RandomEncoderWeights(CONFIG), "mean").embed(sequences)
    np.testing.assert_allclose(vectors, engine.embed(sequences), atol=1e-5)
    with pytest.raises(InvalidParameter, match="compiled library"):
        EncoderEngine(RandomEncoderWeights(CONFIG), "mean", is_int8=True)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 100))
def test_batches_have_every_sequence_once_and_at_most_the_maximum_of_tokens(lengths, max_tokens):
    batches = list(batch_by_length(lengths, max_tokens))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[number] for number in batch) <= max_tokens
