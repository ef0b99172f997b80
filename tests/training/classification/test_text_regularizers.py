"""Supervised contrastive loss and R-Drop."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from turnwise.training.text_regularizers import CONTRASTIVE_TEMPERATURE, consistency_loss, contrastive_loss


@given(st.integers(0, 1000), st.lists(st.integers(0, 2), min_size=2, max_size=6))
def test_the_contrastive_loss_is_that_of_the_paper(seed, labels):
    vectors_PC = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(seed))
    unit = F.normalize(vectors_PC, dim=1)
    similarity = (unit @ unit.T / CONTRASTIVE_TEMPERATURE).tolist()
    for i, loss in enumerate(contrastive_loss(vectors_PC, torch.tensor(labels)).tolist()):
        others = [j for j in range(len(labels)) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        normalizer = math.log(sum(math.exp(similarity[i][j]) for j in others))
        expected = sum(normalizer - similarity[i][j] for j in positives) / max(1, len(positives))
        assert math.isclose(loss, expected, rel_tol=1e-4, abs_tol=1e-4)


@given(st.integers(0, 1000), st.lists(st.integers(0, 2), min_size=2, max_size=6))
def test_texts_of_no_label_do_not_attract_each_other_and_keep_others_away(seed, labels):
    vectors_PC = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(seed))
    labels_P = torch.tensor(labels)
    with_class_P, without_P = (contrastive_loss(vectors_PC, labels_P, none_class) for none_class in (2, None))
    assert torch.equal(with_class_P, torch.where(labels_P == 2, 0.0, without_P))


def test_a_single_text_has_no_contrastive_loss_and_no_gradient():
    vectors_PC = torch.ones(1, 4, requires_grad=True)
    loss_P = contrastive_loss(vectors_PC, torch.tensor([0]))
    loss_P.sum().backward()
    assert loss_P.tolist() == [0.0]
    assert vectors_PC.grad.tolist() == [[0.0] * 4]


def test_texts_of_a_label_attract_each_other():
    vectors_PC = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], requires_grad=True)
    contrastive_loss(vectors_PC, torch.tensor([0, 0, 1])).sum().backward()
    moved_PC = vectors_PC.detach() - 0.01 * vectors_PC.grad
    similarity = F.cosine_similarity
    assert similarity(moved_PC[0], moved_PC[1], dim=0) > similarity(vectors_PC[0], vectors_PC[1], dim=0)


@given(st.integers(0, 1000))
def test_the_consistency_loss_is_a_symmetric_divergence(seed):
    first_PK, second_PK = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))
    p, q = first_PK.log_softmax(1), second_PK.log_softmax(1)
    expected = (
        F.kl_div(q, p, log_target=True, reduction="none") + F.kl_div(p, q, log_target=True, reduction="none")
    ) / 2
    torch.testing.assert_close(consistency_loss(first_PK, second_PK), expected.sum(1), rtol=1e-4, atol=1e-5)
    assert consistency_loss(first_PK, first_PK).abs().max() < 1e-6
