"""The methods `full` and `freeze`."""

from pathlib import Path

import pytest
import torch
from method_runs import CPU, SIZES, changed
from sample_items import FOUR, written

from turnwise.core.errors import InvalidParameter
from turnwise.models import transformers_checkpoint
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.methods import METHODS

pytestmark = [
    pytest.mark.usefixtures("no_loss_plot", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestFreeze:
    @pytest.mark.costly
    def test_only_the_last_layer_is_trained(self, method_recipe):
        changed_names = changed(method_recipe({"name": "freeze", "last_layers": 1}))
        assert changed_names
        assert all(name.startswith("layers.1.") for name in changed_names)

    def test_without_options_the_last_two_layers_are_trained(self):
        assert METHODS.parse_plugin("freeze").last_layers == 2

    @pytest.mark.costly
    def test_the_head_is_the_embedding_if_tied(self, method_recipe):
        assert changed(method_recipe({"name": "freeze", "module": "head"})) == {"embed.weight", "norm.weight"}

    @pytest.mark.costly
    def test_parameters_are_selected_by_their_published_names(self, method_recipe):
        changed_names = changed(method_recipe({"name": "freeze", "parameters": ["model.layers.*.mlp.*"]}))
        assert changed_names == {f"layers.{i}.mlp.{matrix}.weight" for i in (0, 1) for matrix in ("up", "down")}

    def test_a_pattern_for_a_part_of_a_fused_matrix_is_rejected(self, method_recipe):
        with pytest.raises(InvalidParameter, match=r"trained as one matrix: use a pattern that also matches .*k_proj"):
            run_recipe(method_recipe({"name": "freeze", "parameters": ["*q_proj*"]}), device=CPU)

    def test_a_pattern_without_a_match_is_rejected_with_examples(self, method_recipe):
        with pytest.raises(InvalidParameter, match=r"No weight matches 'transformer\.\*'; the model has model\."):
            run_recipe(method_recipe({"name": "freeze", "parameters": ["transformer.*"]}), device=CPU)

    def test_more_layers_than_the_model_has_are_rejected(self, method_recipe):
        with pytest.raises(InvalidParameter, match="'last_layers' is 9, but the model has 2 layers"):
            run_recipe(method_recipe({"name": "freeze", "last_layers": 9}), device=CPU)

    @pytest.mark.costly
    def test_only_the_decoder_of_an_encoder_decoder_is_trained(self, method_recipe, tmp_path, base_folder):
        data = written(FOUR * 3, tmp_path / "data.jsonl")
        model = {"new": {"family": "t5", **SIZES}, "tokenizer": str(base_folder)}
        base = load_base_model(method_recipe("full", objective="seq2seq", model=model))
        recipe = method_recipe(
            {"name": "freeze", "module": "decoder"}, objective="seq2seq", model=model, data={"train": str(data)},
        )  # fmt: skip
        run_recipe(recipe, device=CPU)
        before, after = (
            base.model.module.state_dict(),
            transformers_checkpoint.load(Path(recipe.out)).module.state_dict(),
        )
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved
        assert all(name.startswith("decoder.") for name in moved)

    def test_the_module_decoder_needs_an_encoder_decoder(self, method_recipe):
        with pytest.raises(InvalidParameter, match="needs an encoder–decoder model"):
            run_recipe(method_recipe({"name": "freeze", "module": "decoder"}), device=CPU)

    @pytest.mark.costly
    def test_checkpoints_have_only_the_trainable_weights(self, method_recipe, monkeypatch, tmp_path):
        from turnwise.training import checkpoint_files as state

        seen = []
        real = state.save_safetensors
        monkeypatch.setattr(
            state, "save_safetensors", lambda tensors, path: (seen.append(set(tensors)), real(tensors, path))
        )
        run_recipe(method_recipe({"name": "freeze", "last_layers": 1}), device=CPU)
        weights = [names for names in seen if not any(name[0].isdigit() for name in names)]
        assert weights
        assert all(name.startswith("layers.1.") for names in weights for name in names)
