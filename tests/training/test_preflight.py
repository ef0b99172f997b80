"""Before a run: what is shown, what is refused, and what the one dial settles."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from hooks import KillingHook, RecordingHook
from samples_of_data import FOUR, PAIRS

from turnwise.core.errors import InvalidData, UserError
from turnwise.text.rendering.renderer import Renderer
from turnwise.training import train_step
from turnwise.training.examples.batches import IGNORED, Example
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.launch import preflight as looking
from turnwise.training.launch import throughput_probe as probing
from turnwise.training.launch.auto_hyperparameters import MIN_STEPS, resolve_hyperparameters
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.dry_run import dry_run
from turnwise.training.launch.preflight import TextSpan, preflight, render_spans
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import load_recipe, parse_recipe

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("undrawn", "one_thread")


def look(recipe):
    base = recipe.method.prepare(load_base_model(recipe), 0)
    data = load_datasets(recipe, base.renderer, base.model)
    return preflight(recipe, base.model, data, device=CPU, dtype=torch.float32), base, data


class TestWhatIsShown:
    def test_what_the_assistant_says_is_marked(self, tokenizer):
        frame = ExampleContext(Renderer.from_tokenizer(tokenizer), 128)
        (example,) = OBJECTIVES.parse_plugin("sft").examples(FOUR[1], frame)
        assert render_spans(example, frame) == [
            TextSpan("<|user|>The lamp is broken<|end|><|assistant|>", is_target=False),
            TextSpan("I'd like to order a new one.<|end|>", is_target=True),
            TextSpan("<|user|>Thank you<|end|><|assistant|>", is_target=False),
            TextSpan("Sehr gern!<|end|>", is_target=True),
        ]

    def test_both_ends_of_a_pair(self, tokenizer):
        frame = ExampleContext(Renderer.from_tokenizer(tokenizer), 128)
        (example,) = OBJECTIVES.parse_plugin("dpo").examples(PAIRS[0], frame)
        assert [piece.text for piece in render_spans(example, frame) if piece.is_target] == [
            "How can I help you today?<|end|>",
            "No.<|end|>",
        ]

    def test_a_source_and_its_answer(self, tokenizer):
        frame = ExampleContext(Renderer.from_tokenizer(tokenizer), 128, (5,))
        example = next(OBJECTIVES.parse_plugin("seq2seq").examples(FOUR[0], frame))
        assert render_spans(example, frame) == [
            TextSpan("<|user|>Hello<|end|><|assistant|>", is_target=False),
            TextSpan("How can I help you today?<|end|>", is_target=True),
        ]

    def test_gaps_show_what_stood_there(self, tokenizer):
        whole = tokenizer.encode("The lamp in the kitchen")
        ids, targets = list(whole), [IGNORED] * len(whole)
        ids[1], targets[1] = 2, whole[1]
        example = Example(torch.tensor(ids).int().numpy(), torch.tensor(targets).int().numpy())
        found = render_spans(example, ExampleContext(Renderer.from_tokenizer(tokenizer), 128))
        assert "".join(piece.text for piece in found) == "The lamp in the kitchen"
        assert [piece.is_target for piece in found] == [False, True, False]


class TestWhatIsKnown:
    def test_figures_of_the_run_to_come(self, recipe):
        found, base, data = look(recipe(method={"name": "freeze", "last_layers": 1}))
        assert found.num_parameters == sum(p.numel() for p in base.model.module.parameters())
        assert 0 < found.num_trainable < found.num_parameters
        assert found.rows_per_epoch == len(data.train.rows())
        assert found.tokens_per_row == pytest.approx(data.train.tokens / found.rows_per_epoch, rel=0.3)
        assert found.seconds(10, 4) == pytest.approx(40 * found.tokens_per_row / found.tokens_per_second)
        assert 0.5 < found.packing_efficiency <= 1
        assert len(found.examples) == 2

    @pytest.mark.parametrize("more", [{}, {"neftune_noise_alpha": 5.0}, {"optimizer": "muon"}], ids=str)
    def test_nothing_is_changed_by_looking(self, trainer, recipe, tmp_path, more):
        weights = []
        for looked in (False, True):
            run = trainer(recipe(**more), work=tmp_path / str(looked))
            if looked:
                preflight(run.plan.recipe, run.model, run.data, device=CPU, dtype=torch.float32)
            run.run()
            weights.append({name: tensor.clone() for name, tensor in run.module.state_dict().items()})
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_a_dry_run_touches_no_unfinished_run(self, values, tmp_path):
        kept = tmp_path / "out.partial" / "checkpoint" / "state.json"
        kept.parent.mkdir(parents=True)
        kept.write_text("{}")
        dry_run(parse_recipe(values, origin="test"), device=CPU)
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["state.json"]

    def test_a_dry_run_leaves_nothing(self, values, tmp_path):
        hook = RecordingHook()
        dry_run(parse_recipe(values, origin="test"), device=CPU, hooks=[hook])
        assert len(hook.preflights) == 1
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    def test_everything_masked(self, recipe, tokenizer):
        said = recipe()
        base = load_base_model(said)
        data = load_datasets(said, base.renderer, base.model)
        nothing = Example.causal(range(6, 20), [False] * 14)
        object.__setattr__(data, "train", Dataset([in_memory_shard([nothing])], said.objective, data.train.context))
        with pytest.raises(InvalidData, match="every token of the first examples is masked"):
            preflight(said, base.model, data, device=CPU, dtype=torch.float32)

    def test_more_memory_than_there_is(self, recipe, monkeypatch):
        monkeypatch.setattr(looking, "available_memory", lambda device: 1000)
        with pytest.raises(UserError, match=r"[\d.]+ GB of memory, and 0\.0 GB are free.*'lora'"):
            look(recipe())

    @pytest.mark.parametrize("first", [1, 2])
    def test_fewer_rows_at_a_time_where_memory_is_short(self, recipe, monkeypatch, first):
        """What the processor's allocator raises is no MemoryError."""
        compute = probing.accumulate_gradients

        def short(model, objective, batches, **more):
            if len(batches[0].ids_BT) > first:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
            return compute(model, objective, batches, **more)

        monkeypatch.setattr(probing, "accumulate_gradients", short)
        found, _, _ = look(recipe(batch_size=4, micro_batch_size=4))
        assert found.micro_batch_size == first

    def test_not_even_one_row(self, recipe, monkeypatch):
        def short(*_, **__):
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

        monkeypatch.setattr(probing, "accumulate_gradients", short)
        with pytest.raises(UserError, match="Not even one row of a step fits into memory"):
            look(recipe())

    def test_a_step_that_runs_out_of_memory_is_made_with_fewer_rows(self, values, tmp_path, monkeypatch):
        from safetensors.torch import load_file

        said = {**values, "training": {**values["training"], "micro_batch_size": 2}}
        compute, calls = train_step.accumulate_gradients, []

        def short(model, objective, batches, **more):
            calls.append(len(batches[0].ids_BT))
            if len(calls) == 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return compute(model, objective, batches, **more)

        monkeypatch.setattr(train_step, "accumulate_gradients", short)
        run_recipe(parse_recipe(said, origin="test"), device=CPU)
        assert calls == [2, 2, 1, 1, 1]
        assert load_file(tmp_path / "out" / "model.safetensors")

    def test_it_is_the_peak_and_what_the_optimiser_will_keep(self, recipe, monkeypatch):
        monkeypatch.setattr(probing, "peak_memory", lambda device: 10**12)
        found, base, _ = look(recipe())
        assert found.micro_batch_size == 1  # so much for one row
        assert found.peak_memory == 10**12 + 8 * sum(p.numel() for p in base.model.module.parameters())


class TestTheDial:
    def settled(self, recipe, work, speed=1000.0):
        found, base, data = look(recipe)
        return resolve_hyperparameters(recipe, base.model, data, replace(found, tokens_per_second=speed), work)

    @pytest.fixture
    def said(self, values, tmp_path):
        def make(**training):
            return parse_recipe(
                {**values, "training": {"max_seq_len": 64, "dtype": "float32", **training}}, origin="test"
            )

        return make

    def test_more_effort_is_more_steps_and_more_patience(self, said, tmp_path):
        plans = [
            self.settled(said(preset=effort), tmp_path / effort).training for effort in ("quick", "normal", "thorough")
        ]
        assert plans[0].max_steps >= MIN_STEPS
        assert plans[0].max_steps <= plans[1].max_steps < plans[2].max_steps
        assert plans[0].early_stopping_patience < plans[1].early_stopping_patience < plans[2].early_stopping_patience
        assert plans[2].interpolate

    def test_what_was_said_stays(self, said, tmp_path):
        found = self.settled(said(preset="quick", learning_rate=0.007, max_steps=3, batch_size=2), tmp_path).training
        assert (found.learning_rate, found.max_steps, found.batch_size) == (0.007, 3, 2)

    def test_minutes_become_steps_by_what_was_measured(self, said, tmp_path):
        recipe = said(time_budget=10, batch_size=4)
        seen, base, data = look(recipe)
        found = resolve_hyperparameters(
            recipe, base.model, data, replace(seen, tokens_per_second=500.0), tmp_path
        ).training
        assert found.max_steps * 4 * seen.tokens_per_row / 500 == pytest.approx(0.85 * 0.75 * 600, rel=0.02)

    def test_epochs_that_were_said_are_gone_through(self, said, tmp_path):
        few, many = (self.settled(said(preset="quick", epochs=n), tmp_path / str(n)).training for n in (40, 80))
        assert many.max_steps == pytest.approx(2 * few.max_steps, abs=1)

    def test_what_a_file_does_not_say_is_settled(self, values, tmp_path):
        """Also where the file goes through the command line."""
        from turnwise.cli.recipe_flags import RecipeFlags

        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({**values, "training": {"preset": "quick", "max_seq_len": 64}}))
        recipe = RecipeFlags(None, None, None, "prompt_tuning", {}, {}, {}).override_recipe(path)
        assert self.settled(recipe, tmp_path).training.learning_rate == pytest.approx(3e-2)

    def test_without_validation_data_no_mix_is_looked_for(self, said, values, chats, tmp_path):
        recipe = parse_recipe(
            {
                **values,
                "data": {"train": str(chats), "valid_fraction": 0},
                "training": {"preset": "thorough", "max_seq_len": 64},
            },
            origin="test",
        )
        assert not self.settled(recipe, tmp_path).training.interpolate

    def test_a_run_that_goes_on_keeps_its_plan(self, said, tmp_path):
        first = self.settled(said(time_budget=1), tmp_path, speed=1000.0)
        again = self.settled(said(time_budget=1), tmp_path, speed=9.0)
        assert again.training.max_steps == first.training.max_steps
        assert json.loads((tmp_path / "plan.json").read_text())["max_steps"] == first.training.max_steps

    def test_methods_have_rates_of_their_own_and_large_models_smaller_ones(self, said, tmp_path, values):
        lora = parse_recipe(
            {**values, "method": "lora", "training": {"preset": "quick", "max_seq_len": 64}}, origin="test"
        )
        one, other = self.settled(said(preset="quick"), tmp_path / "full"), self.settled(lora, tmp_path / "lora")
        assert other.training.learning_rate > 3 * one.training.learning_rate

    def test_a_run_by_the_dial_killed_and_gone_on_with(self, values, tmp_path):
        said = {
            **values,
            "training": {"preset": "quick", "max_seq_len": 64, "save_steps": 2, "dtype": "float32", "max_steps": 6},
        }
        recipe = parse_recipe(said, origin="test")
        with pytest.raises(RuntimeError):
            run_recipe(recipe, device=CPU, hooks=[KillingHook(at=4)])
        assert run_recipe(recipe, device=CPU).steps == 6
        kept = load_recipe(tmp_path / "out" / "recipe.yaml")
        assert kept.training.max_steps == 6
        assert kept.training.learning_rate == pytest.approx(3e-4)
