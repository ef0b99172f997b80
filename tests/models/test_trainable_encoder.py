"""The trainable encoder has the hidden states and gradients of the reference, whatever else is in the batch."""

import pytest
import torch

from turnwise.models.encoder import Encoder
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_weights import RandomEncoderWeights, weight_shapes
from turnwise.models.padded_layout import PaddedLayout
from turnwise.models.trainable_encoder import AttentionGroups, TrainableEncoder, attention_with_dropout

CONFIG = EncoderConfig(
    vocab_size=50, hidden_size=24, num_layers=2, num_heads=3, intermediate_size=40, num_positions=16
)  # fmt: skip
LENGTHS = [5, 1, 9, 1, 2, 16, 1]


@pytest.fixture
def sequences():
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(50, (length,), generator=generator) for length in LENGTHS]


@pytest.fixture(params=["gelu", "gelu_tanh"])
def weights(request):
    config = EncoderConfig(
        **{**{name: getattr(CONFIG, name) for name in CONFIG.__slots__}, "activation": request.param}
    )
    return RandomEncoderWeights(config)


def test_hidden_states_equal_those_of_the_reference(weights, sequences):
    encoder, reference = TrainableEncoder.from_weights(weights).eval(), Encoder(weights)
    hidden_NC = encoder(torch.cat(sequences), LENGTHS)
    expected = torch.cat([reference.hidden_states(ids) for ids in sequences])
    torch.testing.assert_close(hidden_NC, expected, rtol=1e-4, atol=1e-5)


def test_gradients_do_not_depend_on_the_other_sequences(weights, sequences):
    encoder = TrainableEncoder.from_weights(weights).eval()

    def gradient(parts, lengths):
        encoder.zero_grad()
        encoder(torch.cat(parts), lengths).square().sum().backward()
        return [parameter.grad.clone() for parameter in encoder.parameters()]

    together = gradient(sequences, LENGTHS)
    alone = [gradient([ids], [len(ids)]) for ids in sequences]
    for number, grad in enumerate(together):
        torch.testing.assert_close(grad, sum(grads[number] for grads in alone), rtol=1e-3, atol=1e-4)


def test_dropout_is_only_in_training(weights, sequences):
    encoder, ids_N = TrainableEncoder.from_weights(weights, dropout=0.5), torch.cat(sequences)
    assert not torch.equal(encoder(ids_N, LENGTHS), encoder(ids_N, LENGTHS))
    encoder.eval()
    assert torch.equal(encoder(ids_N, LENGTHS), encoder(ids_N, LENGTHS))


def test_parameters_have_the_names_and_shapes_of_the_weights(weights):
    shapes = {name: tuple(tensor.shape) for name, tensor in TrainableEncoder(weights.config).state_dict().items()}
    assert shapes == weight_shapes(weights.config)


def test_padding_and_back_changes_nothing():
    layout = PaddedLayout(LENGTHS, torch.device("cpu"))
    x_NX = torch.randn(sum(LENGTHS), 2)
    padded = layout.pad(x_NX)
    assert padded.shape == (len(LENGTHS), 16, 2)
    assert torch.equal(layout.unpad(padded), x_NX)
    assert padded[1, 1:].abs().sum() == 0
    assert layout.positions_N.tolist() == [position for length in LENGTHS for position in range(length)]


def test_sequences_of_one_length_need_no_padding():
    layout = PaddedLayout([3, 3], torch.device("cpu"))
    x_NX = torch.randn(6, 2)
    assert not layout.has_padding
    assert torch.equal(layout.pad(x_NX), x_NX.view(2, 3, 2))
    assert torch.equal(layout.unpad(layout.pad(x_NX)), x_NX)


def test_short_sequences_are_not_padded_to_a_long_one():
    lengths = [500, *[2] * 300, 300]
    groups = AttentionGroups(lengths, torch.device("cpu"))
    assert groups.order_N.tolist() == [*range(500), *range(1100, 1400), *range(500, 1100)]
    assert groups.positions_N.tolist() == [*range(500), *range(300), *[0, 1] * 300]
    assert groups.sizes == [500, 300, 600]
    pairs = sum(layout.num_sequences * layout.longest**2 for layout in groups.layouts)
    assert pairs == sum(length**2 for length in lengths)


def test_sequences_of_similar_length_share_a_group():
    groups = AttentionGroups([20, 100, 18, 99, 98], torch.device("cpu"))
    assert groups.sizes == [100 + 99 + 98, 20 + 18]


@pytest.mark.parametrize("mask", [None, [[True, True, True], [True, False, False]]])
def test_attention_with_dropout_computes_attention(mask):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 3, 8, requires_grad=True) for _ in range(3))
    mask = None if mask is None else torch.tensor(mask)[:, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
    attended = attention_with_dropout(q, k, v, mask, 0.0)
    torch.testing.assert_close(attended, expected)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((attended * weights).sum(), (q, k, v))
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights).sum(), (q, k, v)))


def test_attention_with_dropout_has_the_expected_values_of_attention():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, 5, 4).expand(4000, 1, 5, 4) for _ in range(3))
    attended = attention_with_dropout(q, k, v, None, 0.5)
    assert attended.std(dim=0).min() > 0.05
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attended.mean(0), expected[0], rtol=0, atol=0.1)
