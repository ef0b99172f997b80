"""One suite over all objectives."""

import pytest
import torch
from hooks import KillingHook
from objective_runs import CPU, FAMILY, SIZES, batches, dataset, encoded, gradient, objective_for, step_loss
from safetensors.torch import load_file
from sample_items import FOUR, ITEMS, written

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import parse_recipe

NO_GUARDS = {"distinct_2_fall": 9, "length_drift": 9, "gate_pass_fall": 9, "loss_rise": 9, "max_reply_tokens": 12}
SHORT_RUN = {
    "adversarial": {"warm_up_steps": 2, **NO_GUARDS},
    "best_of_n": {"warm_up_steps": 2, **NO_GUARDS},
    "spin": NO_GUARDS,
}  # options of objectives that sample replies: a guard must not end six steps


@pytest.mark.parametrize("name", OBJECTIVES.names())
class TestEveryObjective:
    def test_the_loss_falls_on_four_samples(self, name, renderer, model_for):
        objective = objective_for(name)
        model = model_for(objective)
        collated = batches(dataset(objective, ITEMS.get(name, FOUR), renderer, model), 4)
        optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-2)
        losses = []
        for _ in range(16):
            losses.append(step_loss(objective, model, collated))
            losses[-1].backward()
            optimizer.step()
            optimizer.zero_grad()
        assert losses[-1] < 0.6 * losses[0]

    def test_micro_batches_have_the_gradient_of_the_full_batch(self, name, renderer, model_for):
        """Rows differ in their numbers of replies and tokens, so a mean of means would be wrong."""
        objective = objective_for(name)
        model = model_for(objective)
        data = dataset(objective, ITEMS.get(name, FOUR), renderer, model)
        with torch.no_grad():  # some terms vanish at the base weights
            for parameter in model.module.parameters():
                parameter.mul_(1.05)
        step_loss(objective, model, batches(data, len(data))).backward()
        at_once = gradient(model)
        model.module.zero_grad()
        step_loss(objective, model, batches(data, 1)).backward()
        assert at_once.norm() > 0
        assert (gradient(model) - at_once).abs().max() <= 1e-5 * max(1.0, at_once.abs().max())

    @pytest.mark.costly
    def test_an_interrupted_run_ends_with_the_same_bits(
        self, name, renderer, base_folder, tmp_path, no_loss_plot, one_thread
    ):
        kind = min(OBJECTIVES.plugin_class(name).MODEL_KINDS)
        data = written(ITEMS.get(name, FOUR) * 3, tmp_path / "data.jsonl")
        source = {"from": str(base_folder)}
        if kind != "decoder":
            source = {"new": {"family": FAMILY[kind], **SIZES}, "tokenizer": str(base_folder)}
        weights = []
        for stop in (None, 3):
            out = tmp_path / f"out-{stop}"
            recipe = parse_recipe(
                {
                    "objective": {"name": name, **SHORT_RUN.get(name, {})},
                    "model": source,
                    "data": {"train": str(data), "valid": str(data)},
                    "training": {
                        "max_seq_len": 96, "batch_size": 3, "max_steps": 6, "save_steps": 2, "dtype": "float32"
                    },
                    "out": str(out),
                },
                origin="test",
            )  # fmt: skip
            if stop:
                with pytest.raises(RuntimeError, match="killed"):
                    run_recipe(recipe, hooks=[KillingHook(stop)], device=CPU)
            result = run_recipe(recipe, device=CPU)
            assert result.steps == 6
            weights.append(load_file(out / "model.safetensors"))
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_a_dialogue_without_target_text_has_no_example(self, name, renderer):
        objective = OBJECTIVES.parse_plugin(name)
        if objective.READS_ANNOTATIONS:
            pytest.skip("trains on annotated texts")
        empty = Conversation((), rejected=(Message("user", "?"),), rating=True)
        assert encoded(objective, [empty], renderer) == []

    def test_the_error_names_the_data_that_is_missing(self, name):
        assert OBJECTIVES.plugin_class(name).EMPTY_MESSAGE


class TestNamesAndOptions:
    def test_an_unknown_objective_is_rejected_with_the_nearest_name(self):
        with pytest.raises(InvalidParameter, match=r"no objective 'stf'.*did you mean 'sft'"):
            OBJECTIVES.parse_plugin("stf")

    def test_an_unknown_option_is_rejected_with_the_nearest_name(self):
        with pytest.raises(InvalidParameter, match=r"unknown key 'objective.bta': did you mean 'beta'"):
            OBJECTIVES.parse_plugin({"name": "dpo", "bta": 0.3})

    def test_options_are_checked(self):
        with pytest.raises(InvalidParameter, match=r"'objective.beta' should be greater than 0"):
            OBJECTIVES.parse_plugin({"name": "dpo", "beta": 0})

    def test_a_model_of_another_kind_is_rejected_with_the_objectives_for_it(self, values):
        values["objective"] = "seq2seq"
        objectives = (
            "adversarial, best_of_n, clm, dpo, iqlearn, kto, sequence_classification, sft, spin, token_classification"
        )
        with pytest.raises(InvalidParameter, match=rf"is a decoder, which the objective 'seq2seq' .*{objectives}\.$"):
            run_recipe(parse_recipe(values, origin="test"))
