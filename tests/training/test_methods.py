"""Methods: which weights learn."""

from pathlib import Path

import pytest
import torch
from method_runs import CPU, SIZES, changed
from samples_of_data import FOUR, written

from turnwise.core.errors import InvalidParameter
from turnwise.models import transformers_checkpoint
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.methods import METHODS

pytestmark = [
    pytest.mark.usefixtures("undrawn", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestPartial:
    def test_the_last_layer_alone(self, said):
        found = changed(said({"name": "freeze", "last_layers": 1}))
        assert found
        assert all(name.startswith("layers.1.") for name in found)

    def test_said_alone_it_is_the_last_two(self):
        assert METHODS.parse_plugin("freeze").last_layers == 2

    def test_the_head_which_is_the_embedding_where_they_are_one(self, said):
        assert changed(said({"name": "freeze", "module": "head"})) == {"embed.weight", "norm.weight"}

    def test_weights_by_their_published_names(self, said):
        found = changed(said({"name": "freeze", "parameters": ["model.layers.*.mlp.*"]}))
        assert found == {f"layers.{i}.mlp.{part}.weight" for i in (0, 1) for part in ("up", "down")}

    def test_what_is_one_matrix_here_is_named_whole_or_refused(self, said):
        with pytest.raises(InvalidParameter, match=r"trained as one matrix: use a pattern that also matches .*k_proj"):
            run_recipe(said({"name": "freeze", "parameters": ["*q_proj*"]}), device=CPU)

    def test_a_name_that_nothing_has_is_refused_with_some_that_are_there(self, said):
        with pytest.raises(InvalidParameter, match=r"No weight matches 'transformer\.\*'; the model has model\."):
            run_recipe(said({"name": "freeze", "parameters": ["transformer.*"]}), device=CPU)

    def test_more_layers_than_there_are(self, said):
        with pytest.raises(InvalidParameter, match="'last' is 9, but the model has 2 layers"):
            run_recipe(said({"name": "freeze", "last_layers": 9}), device=CPU)

    def test_the_decoder_of_an_encoder_decoder(self, said, tmp_path, base_folder):
        data = written(FOUR * 3, tmp_path / "data.jsonl")
        model = {"new": {"family": "t5", **SIZES}, "tokenizer": str(base_folder)}
        base = load_base_model(said("full", objective="seq2seq", model=model))
        recipe = said(
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

    def test_a_decoder_has_no_part_of_that_name(self, said):
        with pytest.raises(InvalidParameter, match="needs an encoder–decoder model"):
            run_recipe(said({"name": "freeze", "module": "decoder"}), device=CPU)

    def test_only_what_learns_is_kept_in_checkpoints(self, said, monkeypatch, tmp_path):
        from turnwise.training import checkpoint_files as state

        seen = []
        real = state.save_file
        monkeypatch.setattr(state, "save_file", lambda tensors, path: (seen.append(set(tensors)), real(tensors, path)))
        run_recipe(said({"name": "freeze", "last_layers": 1}), device=CPU)
        weights = [names for names in seen if not any(name[0].isdigit() for name in names)]
        assert weights
        assert all(name.startswith("layers.1.") for names in weights for name in names)
