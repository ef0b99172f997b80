"""Runs on sampled replies at their limits: full rows, no chosen reply, all methods, placebos, errors, rollbacks."""

import threading

import pytest
import torch

from turnwise.core.errors import InvalidParameter, ModelNotFound
from turnwise.training.checkpoint_files import TrainerState
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.optim.loss_spikes import LossSpike, check_loss_spike
from turnwise.training.rollouts.discriminator import RepliedPrompt, share_ordered

CPU = torch.device("cpu")
OPEN_GUARDS = {
    "distinct_2_fall": 9, "length_drift": 9, "gate_pass_fall": 9, "loss_rise": 9, "max_reply_tokens": 12,
    "num_validation_prompts": 4,
}  # fmt: skip
OBJECTIVES = {
    "adversarial": {"warm_up_steps": 2},
    "best_of_n": {"warm_up_steps": 2, "num_samples": 2},
    "spin": {},
}
pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


def options(name, **changes):
    return {"name": name, **OBJECTIVES[name], **OPEN_GUARDS, **changes}


@pytest.mark.costly
@pytest.mark.parametrize("name", OBJECTIVES)
class TestEveryObjective:
    def test_replies_that_fill_the_row_are_cut_to_it(self, name, recipe):
        assert run_recipe(recipe(objective=options(name, max_reply_tokens=96), max_seq_len=40), device=CPU).steps == 4

    def test_a_soft_prompt_is_trained_without_sampling_its_tokens(self, name, recipe):
        changed = recipe(objective=options(name), method="prompt_tuning", max_seq_len=128)
        assert run_recipe(changed, device=CPU).steps == 4

    def test_the_largest_seed_is_accepted(self, name, recipe):
        assert run_recipe(recipe(objective=options(name), seed=2**31 - 1), device=CPU).steps == 4


@pytest.mark.costly
def test_a_step_without_a_chosen_reply_learns_the_human_ones(recipe):
    result = run_recipe(recipe(objective=options("best_of_n", cross_entropy=0), learning_rate=5e-4), device=CPU)
    assert result.steps == 4
    assert result.valid_after < result.valid_before


@pytest.mark.costly
def test_an_error_before_the_first_step_leaves_no_engine_behind(recipe):
    before = set(threading.enumerate())
    changed = recipe(objective=options("adversarial", discriminator="no-such-encoder"), method="lora")
    with pytest.raises(ModelNotFound):
        run_recipe(changed, device=CPU)
    assert [thread.name for thread in set(threading.enumerate()) - before] == []


@pytest.mark.costly
def test_weights_between_base_and_tuned_ones_trip_no_guard(recipe):
    tight = dict.fromkeys(("distinct_2_fall", "length_drift", "loss_rise"), 1e-9)
    changed = recipe(objective=options("spin", **tight), interpolate=True, eval_steps=4, learning_rate=0.05)
    result = run_recipe(changed, device=CPU)
    assert result.steps == 4
    assert result.interpolations
    assert result.stop_reason is None


@pytest.mark.costly
@pytest.mark.parametrize(
    "objective", [options("adversarial", has_shuffled_labels=True), options("best_of_n")], ids=lambda o: o["name"]
)
def test_a_discriminator_that_gives_no_reward_to_come_does_not_end_the_run(objective, recipe):
    changed = recipe(objective=objective, eval_steps=1, max_steps=5, early_stopping_patience=0, learning_rate=5e-4)
    result = run_recipe(changed, device=CPU)
    assert not 0.52 <= result.extra_metrics["pair_accuracy"] <= 0.95
    assert (result.steps, result.stop_reason) == (5, None)


@pytest.mark.costly
def test_a_rollback_to_the_start_restores_the_discriminator(recipe, trainer):
    run = trainer(recipe(objective=options("adversarial"), save_steps=100))
    run.checkpoints.save_start()
    expected = {name: tensor.clone() for name, tensor in run.rollouts.state()[0].items()}
    with torch.no_grad():
        for _, parameter in run.rollouts._training.discriminator._trainable():
            parameter.fill_(float("nan"))
    run.state.step = 1
    run.checkpoints.roll_back(LossSpike("the loss"))
    assert run.state.rollbacks == 1
    restored = run.rollouts.state()[0]
    assert all(torch.equal(restored[name], expected[name]) for name in expected)


@pytest.mark.costly
def test_a_time_budget_is_rejected_because_it_does_not_count_sampling(recipe):
    with pytest.raises(InvalidParameter, match="does not count the time to sample replies"):
        run_recipe(recipe(objective=options("spin"), time_budget=0.1), device=CPU)


def test_a_loss_below_zero_is_no_spike_without_a_limit():
    state = TrainerState(step=30, first_loss=0.2, mean_loss=-0.1)
    assert check_loss_spike(state, 0.3, 1.0, float("inf")) == pytest.approx(-0.08)
    with pytest.raises(LossSpike):
        check_loss_spike(state, float("nan"), 1.0, float("inf"))


def test_half_of_the_pairs_of_equal_replies_count_as_ordered():
    human = [RepliedPrompt([1], [2], "?", reply) for reply in ("yes", "no", "maybe", "never")]
    generated = [RepliedPrompt([1], [3], "?", reply) for reply in ("yes", "no", "so", "then")]
    assert share_ordered(human, generated, torch.tensor([0.0, -1e-7, 1.0, -1.0])) == (0.5 + 0.5 + 1 + 0) / 4
