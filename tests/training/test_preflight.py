"""Preflight report, its errors, and derived hyperparameters."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from hooks import KillingHook, RecordingHook
from sample_items import FOUR, PAIRS

from turnwise.core.errors import InvalidData, UserError
from turnwise.text.rendering.renderer import Renderer
from turnwise.training import train_step
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.launch import preflight as preflight_module
from turnwise.training.launch import throughput_probe as throughput_probe
from turnwise.training.launch.auto_hyperparameters import MIN_STEPS, resolve_hyperparameters
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.dry_run import dry_run
from turnwise.training.launch.preflight import TextSpan, preflight, render_spans
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import load_recipe, parse_recipe

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


def run_preflight(recipe):
    base = recipe.method.prepare(load_base_model(recipe), 0)
    data = load_datasets(recipe, base.renderer, base.model)
    return preflight(recipe, base.model, data, device=CPU, dtype=torch.float32), base, data


class TestExampleTexts:
    def test_assistant_messages_are_marked_as_targets(self, tokenizer):
        context = ExampleContext(Renderer.from_tokenizer(tokenizer), 128)
        (example,) = OBJECTIVES.parse_plugin("sft").examples(FOUR[1], context)
        assert render_spans(example, context) == [
            TextSpan("<|user|>The lamp is broken<|end|><|assistant|>", is_target=False),
            TextSpan("I'd like to order a new one.<|end|>", is_target=True),
            TextSpan("<|user|>Thank you<|end|><|assistant|>", is_target=False),
            TextSpan("Sehr gern!<|end|>", is_target=True),
        ]

    def test_both_replies_of_a_pair_are_marked_as_targets(self, tokenizer):
        context = ExampleContext(Renderer.from_tokenizer(tokenizer), 128)
        (example,) = OBJECTIVES.parse_plugin("dpo").examples(PAIRS[0], context)
        assert [span.text for span in render_spans(example, context) if span.is_target] == [
            "How can I help you today?<|end|>",
            "No.<|end|>",
        ]

    def test_the_encoder_input_is_shown_before_the_target(self, tokenizer):
        context = ExampleContext(Renderer.from_tokenizer(tokenizer), 128, (5,))
        example = next(OBJECTIVES.parse_plugin("seq2seq").examples(FOUR[0], context))
        assert render_spans(example, context) == [
            TextSpan("<|user|>Hello<|end|><|assistant|>", is_target=False),
            TextSpan("How can I help you today?<|end|>", is_target=True),
        ]

    def test_masked_tokens_are_shown_with_their_targets(self, tokenizer):
        text_ids = tokenizer.encode("The lamp in the kitchen")
        ids, targets = list(text_ids), [IGNORED] * len(text_ids)
        ids[1], targets[1] = 2, text_ids[1]
        example = Example(torch.tensor(ids).int().numpy(), torch.tensor(targets).int().numpy())
        spans = render_spans(example, ExampleContext(Renderer.from_tokenizer(tokenizer), 128))
        assert "".join(span.text for span in spans) == "The lamp in the kitchen"
        assert [span.is_target for span in spans] == [False, True, False]


class TestPreflightReport:
    def test_the_report_has_size_speed_and_packing(self, recipe):
        report, base, data = run_preflight(recipe(method={"name": "freeze", "last_layers": 1}))
        assert report.num_parameters == sum(p.numel() for p in base.model.module.parameters())
        assert 0 < report.num_trainable < report.num_parameters
        assert report.rows_per_epoch == len(data.train.rows())
        assert report.tokens_per_row == pytest.approx(data.train.tokens / report.rows_per_epoch, rel=0.3)
        assert report.seconds(10, 4) == pytest.approx(40 * report.tokens_per_row / report.tokens_per_second)
        assert 0.5 < report.packing_efficiency <= 1
        assert len(report.examples) == 2

    @pytest.mark.costly
    @pytest.mark.parametrize("more", [{}, {"neftune_noise_alpha": 5.0}, {"optimizer": "muon"}], ids=str)
    def test_the_preflight_does_not_change_the_run(self, trainer, recipe, tmp_path, more):
        weights = []
        for looked in (False, True):
            run = trainer(recipe(**more), work=tmp_path / str(looked))
            if looked:
                preflight(run.plan.recipe, run.model, run.data, device=CPU, dtype=torch.float32)
            run.run()
            weights.append({name: tensor.clone() for name, tensor in run.module.state_dict().items()})
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_a_dry_run_does_not_touch_an_unfinished_run(self, values, tmp_path):
        state_file = tmp_path / "out.partial" / "checkpoint" / "state.json"
        state_file.parent.mkdir(parents=True)
        state_file.write_text("{}")
        dry_run(parse_recipe(values, origin="test"), device=CPU)
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["state.json"]

    def test_a_dry_run_leaves_nothing(self, values, tmp_path):
        hook = RecordingHook()
        dry_run(parse_recipe(values, origin="test"), device=CPU, hooks=[hook])
        assert len(hook.preflights) == 1
        assert list(tmp_path.iterdir()) == []


class TestErrors:
    def test_data_without_targets_is_rejected(self, recipe, tokenizer):
        parsed = recipe()
        base = load_base_model(parsed)
        data = load_datasets(parsed, base.renderer, base.model)
        masked = Example.causal(range(6, 20), [False] * 14)
        object.__setattr__(data, "train", Dataset([in_memory_shard([masked])], parsed.objective, data.train.context))
        with pytest.raises(InvalidData, match="every token of the first examples is masked"):
            preflight(parsed, base.model, data, device=CPU, dtype=torch.float32)

    def test_an_optimizer_state_larger_than_memory_is_rejected(self, recipe, monkeypatch):
        monkeypatch.setattr(preflight_module, "available_memory", lambda device: 1000)
        with pytest.raises(UserError, match=r"[\d.]+ GB of memory, and 0\.0 GB are free.*'lora'"):
            run_preflight(recipe())

    @pytest.mark.parametrize("first", [1, 2])
    def test_the_micro_batch_size_is_reduced_if_memory_is_short(self, recipe, monkeypatch, first):
        """The CPU allocator of torch raises RuntimeError instead of MemoryError."""
        compute = throughput_probe.accumulate_gradients

        def short(model, objective, batches, **more):
            if len(batches[0].ids_BT) > first:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
            return compute(model, objective, batches, **more)

        monkeypatch.setattr(throughput_probe, "accumulate_gradients", short)
        report, _, _ = run_preflight(recipe(batch_size=4, micro_batch_size=4))
        assert report.micro_batch_size == first

    def test_a_single_row_that_does_not_fit_is_rejected(self, recipe, monkeypatch):
        def short(*_, **__):
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

        monkeypatch.setattr(throughput_probe, "accumulate_gradients", short)
        with pytest.raises(UserError, match="Not even one row of a step fits into memory"):
            run_preflight(recipe())

    @pytest.mark.costly
    def test_a_step_out_of_memory_is_repeated_with_smaller_micro_batches(self, values, tmp_path, monkeypatch):
        from safetensors.torch import load_file

        run_values = {**values, "training": {**values["training"], "micro_batch_size": 2}}
        compute, calls = train_step.accumulate_gradients, []

        def short(model, objective, batches, **more):
            calls.append(len(batches[0].ids_BT))
            if len(calls) == 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return compute(model, objective, batches, **more)

        monkeypatch.setattr(train_step, "accumulate_gradients", short)
        run_recipe(parse_recipe(run_values, origin="test"), device=CPU)
        assert calls == [2, 2, 1, 1, 1]
        assert load_file(tmp_path / "out" / "model.safetensors")

    def test_memory_is_the_peak_plus_the_optimizer_state(self, recipe, monkeypatch):
        monkeypatch.setattr(throughput_probe, "peak_memory", lambda device: 10**12)
        report, base, _ = run_preflight(recipe())
        assert report.micro_batch_size == 1  # one row needs all the memory
        assert report.peak_memory == 10**12 + 8 * sum(p.numel() for p in base.model.module.parameters())


class TestDerivedHyperparameters:
    def derive(self, recipe, work, speed=1000.0):
        report, base, data = run_preflight(recipe)
        return resolve_hyperparameters(recipe, base.model, data, replace(report, tokens_per_second=speed), work)

    @pytest.fixture
    def preset_recipe(self, values, tmp_path):
        def make(**training):
            return parse_recipe(
                {**values, "training": {"max_seq_len": 64, "dtype": "float32", **training}}, origin="test"
            )

        return make

    @pytest.mark.costly
    def test_larger_presets_have_more_steps_and_patience(self, preset_recipe, tmp_path):
        plans = [
            self.derive(preset_recipe(preset=effort), tmp_path / effort).training
            for effort in ("quick", "normal", "thorough")
        ]
        assert plans[0].max_steps >= MIN_STEPS
        assert plans[0].max_steps <= plans[1].max_steps < plans[2].max_steps
        assert plans[0].early_stopping_patience < plans[1].early_stopping_patience < plans[2].early_stopping_patience
        assert plans[2].interpolate

    def test_values_in_the_recipe_are_not_derived(self, preset_recipe, tmp_path):
        settings = self.derive(
            preset_recipe(preset="quick", learning_rate=0.007, max_steps=3, batch_size=2), tmp_path
        ).training
        assert (settings.learning_rate, settings.max_steps, settings.batch_size) == (0.007, 3, 2)

    def test_a_time_budget_becomes_steps_by_the_measured_speed(self, preset_recipe, tmp_path):
        recipe = preset_recipe(time_budget=10, batch_size=4)
        report, base, data = run_preflight(recipe)
        settings = resolve_hyperparameters(
            recipe, base.model, data, replace(report, tokens_per_second=500.0), tmp_path
        ).training
        assert settings.max_steps * 4 * report.tokens_per_row / 500 == pytest.approx(0.85 * 0.75 * 600, rel=0.02)

    @pytest.mark.costly
    def test_epochs_in_the_recipe_determine_the_steps(self, preset_recipe, tmp_path):
        few, many = (self.derive(preset_recipe(preset="quick", epochs=n), tmp_path / str(n)).training for n in (40, 80))
        assert many.max_steps == pytest.approx(2 * few.max_steps, abs=1)

    def test_values_missing_in_a_recipe_file_are_derived(self, values, tmp_path):
        """Also if the recipe goes through the command line."""
        from turnwise.cli.recipe_flags import RecipeFlags

        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({**values, "training": {"preset": "quick", "max_seq_len": 64}}))
        recipe = RecipeFlags(None, None, None, "prompt_tuning", {}, {}, {}).override_recipe(path)
        assert self.derive(recipe, tmp_path).training.learning_rate == pytest.approx(3e-2)

    def test_without_validation_data_weights_are_not_interpolated(self, preset_recipe, values, chats, tmp_path):
        recipe = parse_recipe(
            {
                **values,
                "data": {"train": str(chats), "valid_fraction": 0},
                "training": {"preset": "thorough", "max_seq_len": 64},
            },
            origin="test",
        )
        assert not self.derive(recipe, tmp_path).training.interpolate

    @pytest.mark.costly
    def test_a_resumed_run_keeps_its_derived_values(self, preset_recipe, tmp_path):
        first = self.derive(preset_recipe(time_budget=1), tmp_path, speed=1000.0)
        again = self.derive(preset_recipe(time_budget=1), tmp_path, speed=9.0)
        assert again.training.max_steps == first.training.max_steps
        assert json.loads((tmp_path / "plan.json").read_text())["max_steps"] == first.training.max_steps

    @pytest.mark.costly
    def test_the_learning_rate_depends_on_the_method(self, preset_recipe, tmp_path, values):
        lora = parse_recipe(
            {**values, "method": "lora", "training": {"preset": "quick", "max_seq_len": 64}}, origin="test"
        )
        full, lora_run = (
            self.derive(preset_recipe(preset="quick"), tmp_path / "full"),
            self.derive(lora, tmp_path / "lora"),
        )
        assert lora_run.training.learning_rate > 3 * full.training.learning_rate

    @pytest.mark.costly
    def test_a_killed_run_with_a_preset_can_be_resumed(self, values, tmp_path):
        run_values = {
            **values,
            "training": {"preset": "quick", "max_seq_len": 64, "save_steps": 2, "dtype": "float32", "max_steps": 6},
        }
        recipe = parse_recipe(run_values, origin="test")
        with pytest.raises(RuntimeError):
            run_recipe(recipe, device=CPU, hooks=[KillingHook(at=4)])
        assert run_recipe(recipe, device=CPU).steps == 6
        saved = load_recipe(tmp_path / "out" / "recipe.yaml")
        assert saved.training.max_steps == 6
        assert saved.training.learning_rate == pytest.approx(3e-4)
