"""Learning-rate schedules, Muon, and parameter groups."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from turnwise.training.optim.lr_schedule import lr_factor
from turnwise.training.optim.muon import Muon, orthogonalize
from turnwise.training.optim.optimizers import build_optimizers, set_learning_rate


def rates(schedule, total=100, warmup=10, final=0.1):
    return [lr_factor(i, total=total, warmup=warmup, schedule=schedule, final=final) for i in range(total)]


class TestSchedules:
    @pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
    def test_all_schedules_warm_up_linearly_to_the_peak(self, schedule):
        factors = rates(schedule)
        assert factors[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
        assert max(factors) == 1.0

    def test_cosine_decays_along_half_a_wave(self):
        factors = rates("cosine")
        assert factors[10] == 1.0
        assert factors[54] + factors[55] == pytest.approx(1.1)  # half-way between peak and end
        assert factors[-1] == pytest.approx(0.1)
        assert all(a >= b for a, b in pairwise(factors[10:]))

    def test_wsd_decays_linearly_over_the_last_fifth(self):
        factors = rates("wsd")
        assert factors[10:82] == [1.0] * 72
        assert factors[-1] == pytest.approx(0.1)
        falls = [a - b for a, b in pairwise(factors[83:])]
        assert falls == pytest.approx([falls[0]] * len(falls))
        assert falls[0] > 0

    def test_constant_does_not_decay(self):
        assert rates("constant")[10:] == [1.0] * 90

    @pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
    @pytest.mark.parametrize("total", [1, 2, 3])
    def test_the_shortest_runs_have_a_positive_learning_rate(self, schedule, total):
        assert all(0 < rate <= 1 for rate in rates(schedule, total=total, warmup=1))


class TestMuon:
    @pytest.mark.parametrize("shape", [(32, 32), (16, 64), (64, 16)])
    def test_orthogonalized_matrices_have_singular_values_near_one(self, shape):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        orthogonal = orthogonalize(matrix)
        assert orthogonal.shape == shape
        singular = torch.linalg.svdvals(orthogonal)
        assert singular.max() < 1.25
        assert singular.quantile(0.1) > 0.6

    def test_orthogonalization_keeps_the_singular_vectors(self):
        """The nearest semi-orthogonal matrix is U Vᵀ; the iteration comes close to it."""
        matrix = torch.randn(16, 48, generator=torch.Generator().manual_seed(1))
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        nearest = u @ v
        likeness = torch.nn.functional.cosine_similarity(orthogonalize(matrix).flatten(), nearest.flatten(), dim=0)
        assert likeness > 0.97

    def test_the_scale_of_the_gradient_does_not_matter(self):
        matrix = torch.randn(8, 24, generator=torch.Generator().manual_seed(2))
        torch.testing.assert_close(orthogonalize(matrix * 1e4), orthogonalize(matrix), atol=1e-4, rtol=0)

    def test_a_zero_gradient_applies_only_the_weight_decay(self):
        weight = torch.nn.Parameter(torch.ones(4, 4))
        weight.grad = torch.zeros(4, 4)
        Muon([weight], 0.1, weight_decay=0.5).step()
        torch.testing.assert_close(weight.data, torch.full((4, 4), 0.95))

    def test_an_update_has_the_rms_of_adamw(self):
        weight = torch.nn.Parameter(torch.zeros(32, 128))
        weight.grad = torch.randn(32, 128, generator=torch.Generator().manual_seed(3))
        Muon([weight], 0.01, weight_decay=0).step()
        assert 0.1 < weight.square().mean().sqrt().item() / 0.01 < 0.4


class TestParameterGroups:
    def test_adamw_updates_all_weights_and_decays_only_matrices(self, tiny_model):
        (adamw,) = build_optimizers(tiny_model.decoder, name="adamw", learning_rate=0.1, weight_decay=0.3)
        decay = {id(p): group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
        assert all(decay[id(p)] == (0.3 if p.dim() == 2 else 0.0) for p in tiny_model.decoder.parameters())

    def test_muon_updates_the_block_matrices_and_adamw_the_rest(self, tiny_model):
        model = tiny_model.decoder
        adamw, muon = build_optimizers(model, name="muon", learning_rate=0.1, weight_decay=0.3)
        names = {id(p): n for n, p in model.named_parameters()}
        moved = {names[id(p)] for group in muon.param_groups for p in group["params"]}
        rest = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
        assert moved == {n for n, p in model.named_parameters() if n.startswith("layers.") and p.dim() == 2}
        assert moved | rest == set(names.values())
        assert not moved & rest

    def test_all_optimizers_get_the_same_learning_rate(self, tiny_model):
        optimizers = build_optimizers(tiny_model.decoder, name="muon", learning_rate=0.1, weight_decay=0.3)
        set_learning_rate(optimizers, 0.02)
        assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.02}

    def test_the_head_of_a_classifier_may_learn_faster(self):
        module = nn.ModuleDict({"backbone": nn.Linear(2, 3), "head": nn.Linear(3, 2)})
        optimizers = build_optimizers(module, name="adamw", learning_rate=0.1, weight_decay=0.3, head_lr_factor=5)
        set_learning_rate(optimizers, 0.02)
        rates = {id(p): group["lr"] for group in optimizers[0].param_groups for p in group["params"]}
        assert [rates[id(p)] for p in module["backbone"].parameters()] == [0.02, 0.02]
        assert [rates[id(p)] for p in module["head"].parameters()] == pytest.approx([0.1, 0.1])
