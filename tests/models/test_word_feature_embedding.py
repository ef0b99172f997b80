"""Features of words and the LSTM over them agree with the plain computation, one word or sentence at a time."""

import pytest
import torch

from turnwise.core.word_features import encode_words
from turnwise.models.word_features import WordFeatureEmbedding, WordLstm

WORDS = ["the", "U.N.", "of", "the", "1996-08-22", "of", "the", "internationalization"]
LENGTHS = [4, 1, 7, 1]


def gradients(module, values, *inputs):
    """Gradients of an uneven sum of the values by parameters and inputs."""
    module.zero_grad()
    weights = torch.linspace(-1, 1, values.numel()).view(values.shape)
    tensors = [*(p for p in module.parameters() if p.requires_grad), *inputs]
    return torch.autograd.grad((values * weights).sum(), tensors)


def test_a_repeated_word_has_the_values_and_gradients_of_single_words():
    torch.manual_seed(0)
    embedding = WordFeatureEmbedding(num_vectors=3, vector_size=4)
    embedding.vectors_VD.normal_()
    features = torch.from_numpy(encode_words(WORDS, {"the": 1, "of": 2})).long()
    together, alone = embedding(features), torch.cat([embedding(row[None]) for row in features])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(gradients(embedding, together), gradients(embedding, alone))


@pytest.fixture
def lstm():
    torch.manual_seed(0)
    return WordLstm(input_size=6, hidden_size=5)


def test_the_lstm_reads_every_sentence_in_both_directions(lstm):
    x_NX = torch.randn(sum(LENGTHS), 6, requires_grad=True)
    together = lstm(x_NX, LENGTHS)
    alone = torch.cat([lstm.lstm(x_TX[None])[0][0] for x_TX in x_NX.split(LENGTHS)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(gradients(lstm, together, x_NX), gradients(lstm, alone, x_NX))


def test_the_lstm_has_the_same_states_in_evaluation(lstm):
    x_NX = torch.randn(sum(LENGTHS), 6)
    trained = lstm(x_NX, LENGTHS).detach()
    with torch.inference_mode():
        torch.testing.assert_close(lstm.eval()(x_NX, LENGTHS), trained)
