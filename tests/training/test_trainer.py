"""The trainer: steps, early stopping, hooks and divergence."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from turnwise.core.errors import TurnwiseError
from turnwise.training.hooks import TrainerHook
from turnwise.training.plan import count_steps


class Watcher(TrainerHook):
    """Records the events of training and calls `on_step(report)` after every step."""

    def __init__(self, on_step=lambda report: None):
        self.on_step, self.steps, self.validations, self.ended = on_step, [], [], 0

    def on_train_begin(self, *, total_steps, step):
        self.started = (total_steps, step)

    def on_step_end(self, report):
        self.steps.append(report)
        self.on_step(report)

    def on_evaluate(self, report):
        self.validations.append(report)

    def on_train_end(self):
        self.ended += 1


def weights(model):
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


class TestSteps:
    @pytest.mark.parametrize("optimizer", ["adamw", "muon"])
    def test_training_reduces_the_loss(self, trainer, recipe, optimizer):
        result = trainer(recipe(optimizer=optimizer, max_steps=12, learning_rate=0.01)).run()
        assert result.valid_after < 0.8 * result.valid_before

    def test_the_number_of_steps_follows_from_epochs_and_batch_size(self, trainer, recipe):
        run = trainer(recipe())
        rows = len(run.data.train.rows())
        settings = run.settings.model_copy(update={"max_steps": None, "epochs": 2.5})
        assert count_steps(run.data.train, settings) == pytest.approx(rows * 2.5 / 4, abs=1)
        assert count_steps(run.data.train, settings.model_copy(update={"epochs": 1e-6})) == 1

    def test_an_epoch_uses_every_example_once_in_a_new_order(self, trainer, recipe):
        data = trainer(recipe()).data.train
        rows = len(data.rows())
        stream = data.stream()
        epochs = [[index for _ in range(rows) for index in next(stream).examples] for _ in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(len(data)))
        assert epochs[0] != epochs[1]

    @pytest.mark.parametrize("skip", [1, 7, 23])
    def test_skipped_rows_do_not_change_the_following_ones(self, trainer, recipe, skip):
        data = trainer(recipe()).data.train
        all_rows, rest = data.stream(), data.stream(skip)
        for _ in range(skip):
            next(all_rows)
        assert [next(all_rows) for _ in range(40)] == [next(rest) for _ in range(40)]

    @pytest.mark.costly
    def test_micro_batches_give_the_weights_of_the_full_batch(self, trainer, recipe, tmp_path):
        runs = [trainer(recipe(micro_batch_size=size), work=tmp_path / str(size)) for size in (1, 4)]
        for run in runs:
            run.run()
        first, second = (weights(run.model) for run in runs)
        assert all((first[name] - second[name]).abs().max() < 1e-4 for name in first)

    @pytest.mark.costly
    def test_bfloat16_training_keeps_float32_weights(self, trainer, recipe):
        run = trainer(recipe(dtype="bfloat16", max_steps=8, learning_rate=0.01))
        result = run.run()
        assert run.module.embed.weight.dtype == torch.float32
        assert result.valid_after < result.valid_before


class TestStopping:
    @pytest.mark.costly
    def test_early_stopping_keeps_the_best_weights(self, trainer, recipe):
        """The weights are damaged after four steps, so the best are neither the first nor the last."""
        best = {}

        def break_it(report):
            if report.step == 4:
                best.update(weights(run.model))
            if report.step > 4:
                with torch.no_grad():
                    run.module.norm.weight.fill_(-3)

        watcher = Watcher(break_it)
        run = trainer(recipe(max_steps=40, learning_rate=0.003, early_stopping_patience=2), [watcher])
        result = run.run()
        assert result.stopped_early
        assert (result.steps, result.best_step) == (8, 4)  # two validations without a new best, every second step
        assert same(weights(run.model), best)
        assert result.valid_after == min(report.loss for report in watcher.validations)
        assert [report.is_best for report in watcher.validations] == [True, True, True, False, False]

    @pytest.mark.costly
    def test_training_without_improvement_returns_the_base_weights(self, trainer, recipe):
        run = trainer(recipe(max_steps=6, learning_rate=0.9, weight_decay=0, max_grad_norm=1e3, warmup_ratio=0))
        began = weights(run.model)
        result = run.run()
        assert result.best_step == 0
        assert result.valid_after == result.valid_before
        assert same(weights(run.model), began)

    @pytest.mark.costly
    def test_without_patience_training_never_stops_early(self, trainer, recipe):
        settings = {"max_steps": 8, "learning_rate": 0.9, "warmup_ratio": 0, "max_grad_norm": 1e3}
        result = trainer(recipe(**settings, early_stopping_patience=0)).run()
        assert result.steps == 8
        assert not result.stopped_early

    def test_without_validation_data_the_last_weights_are_kept(self, trainer, recipe, chats):
        run = trainer(recipe(data={"train": str(chats), "valid_fraction": 0}))
        last = {}
        run.hooks = [Watcher(lambda report: last.update(weights(run.model)))]
        result = run.run()
        assert result.valid_before is result.valid_after is None
        assert result.best_step == result.steps == 4
        assert same(weights(run.model), last)


class TestHooks:
    def test_hooks_receive_all_events(self, trainer, recipe):
        watcher = Watcher()
        trainer(recipe(), [watcher]).run()
        assert watcher.started == (4, 0)
        assert [report.step for report in watcher.steps] == [1, 2, 3, 4]
        assert [report.step for report in watcher.validations] == [0, 2, 4]
        assert watcher.ended == 1

    def test_every_hook_ends_if_one_of_them_fails(self, trainer, recipe):
        class Broken(Watcher):
            def on_train_end(self):
                raise OSError("disk full")

        def fail(report):
            raise RuntimeError("broken")

        first, last = Watcher(), Watcher(fail)
        with pytest.raises(OSError, match="disk full"):
            trainer(recipe(), [first, Broken(), last]).run()
        assert first.ended == last.ended == 1


class TestDivergence:
    @pytest.mark.costly
    def test_a_non_finite_loss_ends_the_run_after_the_last_checkpoint(self, trainer, recipe, tmp_path):
        good = {}

        def spoil(report):
            if report.step == 2:
                good.update(weights(run.model))
            if report.step == 3:
                with torch.no_grad():
                    run.module.embed.weight[:] = math.nan

        run = trainer(recipe(), [Watcher(spoil)])
        with pytest.raises(TurnwiseError, match=r"After step 3 the loss .*smaller 'learning_rate' \(it was 0.0005\)"):
            run.run()
        checkpoint = tmp_path / "work" / "checkpoint"
        assert json.loads((checkpoint / "state.json").read_text())["step"] == 2
        assert same(load_file(checkpoint / "model.safetensors"), good)

    def test_a_non_finite_gradient_changes_no_weight(self, trainer, recipe):
        run = trainer(recipe(max_steps=1))
        began = weights(run.model)
        run.module.norm.weight.register_hook(lambda gradient: gradient * math.inf)
        with pytest.raises(TurnwiseError, match="its gradient is not a finite number"):
            run.run()
        assert same(weights(run.model), began)

    def test_a_diverged_run_names_its_rollbacks(self, trainer, recipe):
        def spoil(report):
            with torch.no_grad():
                run.module.embed.weight[:] = math.nan

        run = trainer(recipe(), [Watcher(spoil)])
        with pytest.raises(TurnwiseError, match=r"After step 1 the loss .* even after 3 rollbacks"):
            run.run()

    def test_damaged_base_weights_are_detected_before_the_first_step(self, trainer, recipe):
        run = trainer(recipe())
        with torch.no_grad():
            run.module.norm.weight[0] = math.nan
        with pytest.raises(TurnwiseError, match="Before the first step the loss on held-out data"):
            run.run()
