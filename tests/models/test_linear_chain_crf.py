"""The CRF agrees with sums over all tag sequences, and its decoding with the best of them."""

from itertools import product

import pytest
import torch

from turnwise.models.linear_chain_crf import LinearChainCrf

NUM_TAGS = 3


@pytest.fixture
def crf():
    torch.manual_seed(0)
    can_follow = torch.ones(NUM_TAGS, NUM_TAGS, dtype=torch.bool)
    can_follow[0, 2] = False
    crf = LinearChainCrf(can_follow, torch.tensor([True, True, False]))
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


@pytest.fixture
def batch():
    """Emissions, tags and mask of sentences with 4, 1 and 3 tokens."""
    torch.manual_seed(1)
    mask = torch.arange(4) < torch.tensor([4, 1, 3])[:, None]
    return torch.randn(3, 4, NUM_TAGS), torch.tensor([[0, 1, 2, 2], [1, 9, 9, 9], [0, 0, 1, 9]]), mask


def score(crf, emissions, tags):
    transitions = (crf.transition_KK + crf.penalty_KK)[list(tags[:-1]), list(tags[1:])]
    start = (crf.start_K + crf.start_penalty_K)[tags[0]]
    return start + crf.end_K[tags[-1]] + sum(emissions[i, tag] for i, tag in enumerate(tags)) + transitions.sum()


def test_the_likelihood_is_that_of_all_tag_sequences(crf, batch):
    emissions, tags, mask = batch
    expected = []
    for row, length in enumerate(mask.sum(1).tolist()):
        scores = [score(crf, emissions[row], path) for path in product(range(NUM_TAGS), repeat=length)]
        target = score(crf, emissions[row], tags[row, :length].tolist())
        expected.append(torch.logsumexp(torch.stack(scores), 0) - target)
    torch.testing.assert_close(crf.negative_log_likelihood(emissions, tags, mask), torch.stack(expected))


def test_gradients_are_those_of_the_sum_over_all_tag_sequences(crf, batch):
    emissions, tags, mask = batch
    emissions.requires_grad_()
    weights = torch.tensor([1.0, -2.0, 0.5])
    expected = torch.zeros(())
    for row, length in enumerate(mask.sum(1).tolist()):
        scores = [score(crf, emissions[row], path) for path in product(range(NUM_TAGS), repeat=length)]
        target = score(crf, emissions[row], tags[row, :length].tolist())
        expected = expected + weights[row] * (torch.logsumexp(torch.stack(scores), 0) - target)
    loss = (crf.negative_log_likelihood(emissions, tags, mask) * weights).sum()
    inputs = [emissions, *crf.parameters()]
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs))


def test_decoding_finds_the_best_sequence(crf, batch):
    emissions, _, mask = batch
    decoded = crf.decode(emissions, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        paths = list(product(range(NUM_TAGS), repeat=length))
        assert tuple(decoded[row]) == max(paths, key=lambda path: score(crf, emissions[row], path).item())


def test_marginals_are_sums_over_all_tag_sequences(crf, batch):
    emissions, _, mask = batch
    marginals = crf.marginals(emissions, mask)
    torch.testing.assert_close(marginals.sum(-1), mask.float())
    for row, length in enumerate(mask.sum(1).tolist()):
        paths = list(product(range(NUM_TAGS), repeat=length))
        weights = torch.softmax(torch.stack([score(crf, emissions[row], path) for path in paths]), 0)
        for token in range(length):
            expected = [sum(w for w, path in zip(weights, paths, strict=True) if path[token] == k) for k in range(3)]
            torch.testing.assert_close(marginals[row, token], torch.stack([torch.as_tensor(e) for e in expected]))


def test_sequences_that_the_scheme_forbids_are_never_decoded(crf):
    emissions = torch.zeros(1, 2, NUM_TAGS)
    emissions[0, 0, 2] = emissions[0, 1, 2] = 50.0
    (path,) = crf.decode(emissions, torch.ones(1, 2, dtype=torch.bool))
    assert path == [1, 2]


def test_padding_gets_no_gradient(crf, batch):
    emissions, tags, mask = batch
    emissions.requires_grad_()
    crf.negative_log_likelihood(emissions, tags, mask).sum().backward()
    assert emissions.grad[~mask].abs().sum() == 0
    assert emissions.grad[mask].abs().sum() > 0
    assert all(torch.isfinite(parameter.grad).all() for parameter in crf.parameters())


def test_training_makes_the_tags_likely(crf, batch):
    emissions, tags, mask = batch
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.3)
    tags[0] = torch.tensor([0, 1, 2, 2])
    for _ in range(60):
        optimizer.zero_grad()
        crf.negative_log_likelihood(emissions[:1], tags[:1], mask[:1]).sum().backward()
        optimizer.step()
    assert crf.decode(emissions[:1], mask[:1]) == [[0, 1, 2, 2]]
