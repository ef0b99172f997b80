"""The loss of adversarial tuning, its discriminator and its placebos."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from turnwise.app.classifiers import open_classifier
from turnwise.core.errors import InvalidParameter
from turnwise.models.adapter_config import is_adapter
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.log_probs import token_losses
from turnwise.training.objectives.adversarial import AdversarialObjective
from turnwise.training.rollouts.adversarial_rollouts import ADVANTAGE, IS_SAMPLED, REF_LOGPROB
from turnwise.training.rollouts.reference_weights import ReferenceWeights

CPU = torch.device("cpu")
OPEN_GUARDS = {"distinct_2_fall": 9, "length_drift": 9, "gate_pass_fall": 9, "loss_rise": 9}
SHORT = {"name": "adversarial", "warm_up_steps": 4, "max_reply_tokens": 12, "num_validation_prompts": 8, **OPEN_GUARDS}
pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


def metrics(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def run(recipe, tmp_path):
    """`run(**options)`: train with options of the objective; returns the result and the model folder."""

    def make(name="out", method="full", learning_rate=0.002, eval_steps=2, **options):
        changed = recipe(
            objective={**SHORT, **options}, method=method, out=str(tmp_path / name), learning_rate=learning_rate,
            early_stopping_patience=0, eval_steps=eval_steps,
        )  # fmt: skip
        return run_recipe(changed, device=CPU), tmp_path / name

    return make


def labelled(ids, mask, weight, advantage, ref, *, is_sampled):
    example = Example.causal(ids, mask, units=0.5, weights=[weight] * len(ids))
    on = example.target_mask.astype(np.float32)
    labels = {ADVANTAGE: advantage * on, REF_LOGPROB: ref * on, IS_SAMPLED: float(is_sampled) * on}
    return Example(example.ids, example.targets, example.weights, 0.5, token_labels=labels)


def test_the_loss_equals_its_formula(untrained):
    human = labelled([5, 6, 7, 8], [0, 0, 1, 1], 0.25 / 2, 0.0, 0.0, is_sampled=False)
    sampled = labelled([5, 6, 9, 10, 11], [0, 0, 1, 1, 1], 1 / 3, 1.5, -2.0, is_sampled=True)
    batch = collate([[human, sampled]], pad_id=0)
    objective = AdversarialObjective(kl=0.1)
    log_probs = -token_losses(untrained, batch).detach()
    ratio = torch.exp(-2.0 - log_probs[2:])
    expected = -0.25 * log_probs[:2].mean() + (-1.5 * log_probs[2:] + 0.1 * (ratio - torch.log(ratio) - 1)).mean()
    assert objective.loss(untrained, batch).loss_sum.item() == pytest.approx(expected.item(), rel=1e-5)
    assert objective.loss_denominator(batch) == 1


def test_a_batch_of_human_replies_has_the_loss_of_sft(untrained):
    batch = collate([[Example.causal([5, 6, 7, 8], [0, 0, 1, 1])]], pad_id=0)
    loss = AdversarialObjective().loss(untrained, batch).loss_sum
    assert loss.item() == pytest.approx(token_losses(untrained, batch).sum().item())


def test_reference_weights_take_the_place_of_the_present_ones_in_the_block(untrained):
    module = untrained.module
    reference = ReferenceWeights(module)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    try:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1.0)
        with reference.active():
            assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())
        assert all(torch.equal(p, before[name] + 1.0) for name, p in module.named_parameters())
    finally:
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(before[name])


@pytest.mark.costly
class TestRun:
    def test_a_run_saves_the_discriminator_as_a_classifier_that_scores_texts(self, run):
        _, folder = run()
        (result,) = open_classifier(str(folder / "discriminator")).classify(["hello there"])
        assert [score.label for score in result.scores] == ["human"]
        assert 0 <= result.scores[0].probability <= 1

    def test_steps_log_rewards_and_validations_log_the_figures_of_the_guards(self, run):
        _, folder = run()
        rows = metrics(folder)
        step = next(row for row in rows if "loss" in row)
        assert {"reward", "realism", "kl", "discriminator_accuracy"} <= step.keys()
        validation = next(row for row in rows if "valid_loss" in row)
        assert {"valid_pair_accuracy", "valid_distinct_2", "valid_self_bleu", "valid_gate_pass"} <= validation.keys()

    def test_a_frozen_discriminator_is_the_one_of_the_warm_up(self, run):
        weights = [
            load_file(run(name, is_frozen=True, learning_rate=rate)[1] / "discriminator" / "model.safetensors")
            for name, rate in (("a", 0.002), ("b", 0.002))
        ]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        assert "discriminator_loss" not in metrics(run("c", is_frozen=True)[1])[1]

    def test_a_guard_ends_the_run_with_its_reason(self, run):
        result, folder = run(distinct_2_fall=1e-9, loss_rise=1e-9, learning_rate=0.05, cross_entropy=0.0, eval_steps=1)
        assert result.steps < 4
        assert result.stop_reason.endswith(".")
        assert json.loads((folder / "result.json").read_text())["stop_reason"] == result.stop_reason
        assert f"A guard ended the run: {result.stop_reason}" in (folder / "README.md").read_text()
        before = next(row for row in metrics(folder) if row["step"] == 0)
        assert result.reply_metrics_before["distinct_2"] == before["valid_distinct_2"]
        assert result.reply_metrics_before.keys() <= result.extra_metrics.keys()

    def test_with_lora_both_sides_are_adapters_over_one_base(self, run):
        _, folder = run(method={"name": "lora", "rank": 2}, learning_rate=0.01)
        assert is_adapter(folder)
        assert is_adapter(folder / "discriminator")

    def test_several_workers_are_refused(self, recipe, trainer, monkeypatch):
        from turnwise.training.distributed.worker_group import WorkerGroup

        monkeypatch.setattr(WorkerGroup, "world_size", property(lambda _: 2))
        with pytest.raises(InvalidParameter, match="one worker"):
            trainer(recipe(objective=SHORT))
