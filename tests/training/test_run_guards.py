"""Loss spikes, weight averaging, retention data and noise."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from training_dialogues import small_talk, write_chats

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.core.messages import Conversation, Message
from turnwise.training import train_step
from turnwise.training.checkpoint_files import TrainerState, trainable_state
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example
from turnwise.training.examples.example_reader import misspell_user_turns
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.optim.loss_spikes import LossSpike, check_loss_spike
from turnwise.training.optim.neftune import neftune_noise
from turnwise.training.optim.weight_averaging import ALPHAS
from turnwise.training.recipe import parse_recipe

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


class StepRecorder(TrainerHook):
    """Records steps and learning rates; raises after the step `kill_at`."""

    def __init__(self, kill_at=None):
        self.kill_at, self.steps, self.rates = kill_at, [], []

    def on_step_end(self, report):
        self.steps.append(report.step)
        self.rates.append(report.learning_rate)
        if report.step == self.kill_at:
            raise RuntimeError("killed")


def run(values, **more):
    return run_recipe(parse_recipe(values, origin="test"), device=CPU, **more)


def with_training(values, **training):
    return {**values, "training": {**values["training"], "lr_schedule": "constant", "warmup_ratio": 0, **training}}


@pytest.fixture
def spiking(monkeypatch):
    """`spiking(step, times)`: the loss spikes at this step, until `times` rollbacks."""

    def make(step, times=1):
        def check(state, loss, norm, limit):
            if state.step == step and state.rollbacks < times:
                raise LossSpike("the loss")
            return check_loss_spike(state, loss, norm, limit)

        monkeypatch.setattr(train_step, "check_loss_spike", check)

    return make


class TestLossSpikes:
    def test_a_loss_that_is_not_finite_or_jumps_is_a_spike(self):
        calm = TrainerState(step=30, mean_loss=2.0, first_loss=5.0)
        assert check_loss_spike(calm, 2.5, 1.0, 3.0) == pytest.approx(0.95 * 2 + 0.05 * 2.5)
        for loss, norm in ((math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (6.1, 1.0)):
            with pytest.raises(LossSpike):
                check_loss_spike(calm, loss, norm, 3.0)

    def test_the_first_steps_are_no_spike(self):
        assert check_loss_spike(TrainerState(step=3, mean_loss=1.0, first_loss=2.0), 9.0, 1.0, 3.0) > 1
        state = TrainerState()
        assert check_loss_spike(state, 9.0, 1.0, 3.0) == 9.0
        assert state.first_loss == 9.0

    def test_a_hard_batch_near_zero_loss_is_no_spike(self):
        """Learned preferences with a wrong label among them."""
        assert check_loss_spike(TrainerState(step=30, mean_loss=0.001, first_loss=0.69), 0.5, 1.0, 3.0) > 0.001

    @pytest.mark.costly
    def test_a_rollback_continues_with_new_rows_at_half_the_learning_rate(self, values, spiking, tmp_path):
        spiking(5)
        hook = StepRecorder()
        result = run(with_training(values, max_steps=8, save_steps=2), hooks=[hook])
        assert (result.steps, result.rollbacks) == (8, 1)
        assert hook.steps == [1, 2, 3, 4, 5, 5, 6, 7, 8]
        assert hook.rates[4] == pytest.approx(2 * hook.rates[5])
        lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))

    def test_a_rollback_skips_the_rows_before_the_spike(self, trainer, recipe, spiking):
        spiking(3)
        run = trainer(recipe(max_steps=5, save_steps=2, batch_size=4))
        shown = []
        batch = run.data.train.batch
        object.__setattr__(run.data.train, "batch", lambda rows: (shown.extend(rows), batch(rows))[1])
        run.run()
        # Steps 1 to 3 and the spike, then unused rows from the checkpoint after step 2.
        stream = run.data.train.stream()
        expected = [next(stream) for _ in range(4 * 7)]
        assert shown == expected

    @pytest.mark.costly
    def test_a_rollback_before_the_first_checkpoint_restores_the_base_weights(self, values, spiking):
        spiking(3)
        result = run(with_training(values, max_steps=6, save_steps=100))
        assert (result.steps, result.rollbacks) == (6, 1)

    @pytest.mark.costly
    def test_a_fourth_spike_ends_the_run(self, values, spiking):
        spiking(3, times=9)
        with pytest.raises(TurnwiseError, match="even after 3 rollbacks"):
            run(with_training(values, max_steps=6, save_steps=2))

    @pytest.mark.costly
    @pytest.mark.parametrize("ema", [None, 0.9])
    def test_a_run_killed_after_a_rollback_ends_with_the_same_bits(self, values, spiking, tmp_path, ema):
        spiking(5)
        more = {"max_steps": 9, "save_steps": 2, "ema_decay": ema, "neftune_noise_alpha": 5.0}
        run(with_training({**values, "out": str(tmp_path / "whole")}, **more))
        again = with_training({**values, "out": str(tmp_path / "killed")}, **more)
        for at in (4, 7):
            with pytest.raises(RuntimeError, match="killed"):
                run(again, hooks=[StepRecorder(kill_at=at)])
        run(again)
        first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
        assert all(torch.equal(first[name], second[name]) for name in first)


class TestWeightAveraging:
    def test_without_validation_data_the_averaged_weights_are_saved(self, trainer, recipe, chats):
        run = trainer(recipe(ema_decay=0.5, max_steps=4, data={"train": str(chats), "valid_fraction": 0}))
        average = {name: tensor.clone() for name, tensor in trainable_state(run.module).items()}

        class Follow(StepRecorder):
            def on_step_end(self, report):
                share = 1 - min(0.5, (1 + report.step) / (10 + report.step))
                for name, tensor in trainable_state(run.module).items():
                    average[name] += share * (tensor - average[name])

        run.hooks = [Follow()]
        run.run()
        averaged = trainable_state(run.module)
        assert all((averaged[name] - average[name]).abs().max() < 1e-6 for name in average)

    def test_validation_uses_the_average_and_training_the_weights(self, trainer, recipe):
        seen = []
        run = trainer(recipe(ema_decay=0.9, max_steps=4, eval_steps=2))
        evaluate_loss = run.evaluate_loss

        def measured(dataset):
            seen.append({name: tensor.clone() for name, tensor in trainable_state(run.module).items()})
            return evaluate_loss(dataset)

        run.evaluate_loss = measured
        before = {name: tensor.clone() for name, tensor in trainable_state(run.module).items()}
        run.validate()
        run.optimizer_step(next(iter([run.data.train.rows()[:4]])))
        after = {name: tensor.clone() for name, tensor in trainable_state(run.module).items()}
        run.validate()
        assert all(torch.equal(trainable_state(run.module)[name], after[name]) for name in after)
        name = "embed.weight"
        assert not torch.equal(seen[1][name], after[name])
        assert not torch.equal(seen[1][name], before[name])

    @pytest.mark.costly
    def test_the_best_interpolation_is_loaded(self, trainer, recipe):
        run = trainer(recipe(interpolate=True, max_steps=12, learning_rate=0.01))
        start = {name: tensor.clone() for name, tensor in trainable_state(run.module).items()}
        result = run.run()
        assert [mix.alpha for mix in result.interpolations] == list(ALPHAS)
        best = min(result.interpolations, key=lambda mix: mix.valid_loss)
        assert result.alpha == best.alpha
        assert result.valid_after == pytest.approx(best.valid_loss, rel=1e-6)
        assert any(not torch.equal(start[name], tensor) for name, tensor in trainable_state(run.module).items())

    @pytest.mark.costly
    def test_an_interpolation_above_the_retention_bound_is_not_loaded(self, trainer, recipe, values, tmp_path):
        """The retention data contradicts the training data, so the smallest α is best."""
        talks = [[question, answer[::-1]] for question, answer, *_ in small_talk(20)]
        general = write_chats(tmp_path / "general.jsonl", talks)
        data = {**values["data"], "retention": str(general)}
        run = trainer(recipe(interpolate=True, max_steps=12, learning_rate=0.01, max_retention_increase=0.0, data=data))
        run.state.retention_before = 0.0
        evaluate_base = run._evaluate_base

        def far_below():
            report = evaluate_base()
            run.state.retention_before /= 2  # below the loss of every interpolation
            return report

        run._evaluate_base = far_below
        result = run.run()
        least = min(result.interpolations, key=lambda mix: mix.retention_loss)
        assert result.alpha == least.alpha

    def test_interpolation_without_validation_data_or_with_lora_is_rejected(self, trainer, recipe, chats):
        with pytest.raises(InvalidParameter, match="needs validation data"):
            trainer(recipe(interpolate=True, data={"train": str(chats), "valid_fraction": 0}))
        with pytest.raises(InvalidParameter, match="needs full weights"):
            trainer(recipe(interpolate=True, method="lora"))

    @pytest.mark.costly
    def test_retention_data_is_measured_before_and_after(self, values, valid_chats, tmp_path):
        values["data"]["retention"] = str(valid_chats)
        result = run(values)
        assert result.retention_before == pytest.approx(result.valid_before, rel=1e-6)
        assert result.retention_after == pytest.approx(result.valid_after, rel=1e-6)
        written = json.loads((tmp_path / "out" / "result.json").read_text())
        assert written["loss"]["retention_after"] == result.retention_after
        assert "| retention |" in (tmp_path / "out" / "README.md").read_text()


class TestNoise:
    def test_neftune_noise_has_the_documented_scale_in_each_sequence(self, tiny_model):
        batch = collate(
            [[Example.causal(range(6, 46), [True] * 40), Example.causal(range(6, 16), [True] * 10)]], pad_id=0
        )
        embed = tiny_model.decoder.embed
        plain = embed(batch.ids_BT)
        torch.manual_seed(0)
        with neftune_noise(tiny_model, batch, 5.0):
            noise_TC = (embed(batch.ids_BT) - plain)[0].abs()
        long, short = 5.0 / math.sqrt(40 * 32), 5.0 / math.sqrt(10 * 32)
        assert 0.95 * long < noise_TC[:40].max() <= long * 1.0001
        assert 0.95 * short < noise_TC[40:].max() <= short * 1.0001
        assert torch.equal(embed(batch.ids_BT), plain)

    def test_held_out_data_is_measured_without_noise(self, trainer, recipe):
        noisy, quiet = trainer(recipe(neftune_noise_alpha=50.0)), trainer(recipe())
        assert noisy.evaluate_loss(noisy.data.valid).loss == quiet.evaluate_loss(quiet.data.valid).loss

    def test_only_user_turns_get_typos(self):
        talk = Conversation(
            (Message("user", "Where is my broken kitchen lamp now?"), Message("assistant", "In the kitchen."))
        )
        misspelt = misspell_user_turns(talk, 1.0, seed=0)
        assert misspelt.messages[1] == talk.messages[1]
        words = zip(misspelt.messages[0].content.split(), talk.messages[0].content.split(), strict=True)
        assert sum(word != original for word, original in words) == 1
        assert misspell_user_turns(talk, 1.0, seed=0) == misspelt
        assert misspell_user_turns(talk, 0.0, seed=0) == talk

    def test_both_ends_of_a_pair_get_the_same_typos(self):
        before = (Message("user", "Where is my broken kitchen lamp?"),)
        pair = Conversation((*before, Message("assistant", "Here.")), rejected=(*before, Message("assistant", "No.")))
        misspelt = misspell_user_turns(pair, 1.0, seed=0)
        assert misspelt.messages[0] == misspelt.rejected[0] != before[0]
        assert misspelt.rejected[1] == pair.rejected[1]

    def test_the_share_of_dialogues_with_typos_is_about_the_ratio(self):
        talks = [Conversation((Message("user", f"Where is the kitchen number {i}?"),)) for i in range(400)]
        changed = sum(misspell_user_turns(talk, 0.3, seed=1) != talk for talk in talks)
        assert 85 < changed < 155

    def test_held_out_dialogues_get_no_typos(self, trainer, recipe, chats):
        def texts(data, split):
            dataset = getattr(data, split)
            return {tuple(dataset.example(i).ids.tolist()) for i in range(len(dataset))}

        data = {"train": str(chats), "valid_fraction": 0.3}
        clean = trainer(recipe(max_seq_len=128, data=data)).data
        noisy = trainer(recipe(max_seq_len=128, data={**data, "typo_ratio": 1.0})).data
        assert texts(noisy, "valid") == texts(clean, "valid")
        assert not texts(noisy, "train") & texts(clean, "train")
        replies = [
            [d.train.example(i).targets[d.train.example(i).target_mask].tolist() for i in range(len(d.train))]
            for d in (clean, noisy)
        ]
        assert replies[0] == replies[1]
