"""Thin matrices learn beside the others, and are saved as the peft library saves them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_runs import CPU, LORA, SIZES, logits, parameters, written_by_peft
from safetensors.torch import load_file
from samples_of_data import FOUR, written

from turnwise.core.errors import InvalidParameter, ModelNotFound, UserError
from turnwise.models import checkpoint, transformers_checkpoint
from turnwise.models.quantization import QuantizedLinear
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.run_recipe import run_recipe

pytestmark = [
    pytest.mark.usefixtures("undrawn", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestAdapters:
    @pytest.mark.parametrize("more", [{}, {"dora": True}, {"rank": 2, "alpha": 9, "dropout": 0.1}], ids=str)
    def test_what_is_saved_serves_as_what_was_trained(self, said, more, unseen):
        """The loss of the folder, read by another room, is the one that the run reported of itself."""
        from torch_reference.perplexity import measure_perplexity
        from turnwise.data.sources import read_source

        recipe = said({**LORA, **more})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        out = Path(recipe.out)
        assert sorted(path.name for path in out.glob("*.safetensors")) == ["adapter_model.safetensors"]
        model = checkpoint.load(out, dtype=torch.float32).decoder
        found = measure_perplexity(model, Renderer.from_tokenizer(Tokenizer.load(out)), list(read_source(unseen)))
        assert found.nats / found.tokens == pytest.approx(result.valid_after, rel=1e-4)

    @pytest.mark.parametrize("more", [{}, {"dora": True}], ids=str)
    def test_the_peft_library_reads_it_the_same(self, said, base_folder, more):
        import peft
        import transformers

        recipe = said({**LORA, **more})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
        theirs = peft.PeftModel.from_pretrained(theirs, recipe.out).eval()
        ids = list(range(6, 40))
        with torch.inference_mode():
            expected = theirs(torch.tensor([ids])).logits
        torch.testing.assert_close(logits(Path(recipe.out), ids), expected, atol=1e-4, rtol=1e-4)
        assert (expected - logits(base_folder, ids)).abs().max() > 0.1

    def test_what_the_peft_library_wrote_is_read_the_same(self, base_folder, tmp_path):
        """Its queries, keys and values have thin matrices of their own."""

        theirs = written_by_peft(base_folder, tmp_path / "theirs")
        ids = list(range(6, 40))
        with torch.inference_mode():
            expected = theirs.eval()(torch.tensor([ids])).logits
        torch.testing.assert_close(logits(tmp_path / "theirs", ids), expected, atol=1e-4, rtol=1e-4)

    def test_gpt2_whose_matrices_are_the_other_way_round(self, said, gpt2_folder):
        import peft
        import transformers

        recipe = said(LORA, model={"from": str(gpt2_folder)})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(gpt2_folder, dtype=torch.float32)
        theirs = peft.PeftModel.from_pretrained(theirs, recipe.out).eval()
        ids = list(range(6, 40))
        with torch.inference_mode():
            torch.testing.assert_close(
                logits(Path(recipe.out), ids), theirs(torch.tensor([ids])).logits, atol=1e-4, rtol=1e-4
            )

    @pytest.mark.parametrize("bits", ["int8", "int4"])
    def test_the_base_in_fewer_bits_while_training(self, said, bits):
        recipe = said({**LORA, "quantize": bits})
        base = recipe.method.prepare(load_base_model(recipe), 0)
        layers = [part for part in base.model.module.modules() if isinstance(part, QuantizedLinear)]
        assert len(layers) == 8
        plain = load_base_model(recipe).model.module.layers[0].mlp.up.weight
        held = base.model.module.layers[0].mlp.up.base_layer
        assert held.quantized.nbytes == plain.nbytes // (4 if bits == "int8" else 8)
        assert (held.weight - plain).abs().max() < plain.abs().max() / (60 if bits == "int8" else 6)
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before

    def test_gradients_through_a_rounded_layer_are_those_of_its_floats(self):
        layer = torch.nn.Linear(32, 24)
        rounded = QuantizedLinear(layer, 4)
        plain = torch.nn.Linear(32, 24)
        plain.weight, plain.bias = torch.nn.Parameter(rounded.weight), layer.bias
        x = torch.randn(5, 32, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        (rounded(x).square().sum()).backward()
        (plain(y).square().sum()).backward()
        torch.testing.assert_close(x.grad, y.grad)

    def test_a_decoder_that_is_none_of_ours(self, said, neox_folder):
        recipe = said(LORA, model={"from": str(neox_folder)})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        assert len(result.samples) == 3
        merged, base = (
            transformers_checkpoint.load(Path(recipe.out)).module,
            transformers_checkpoint.load(neox_folder).module,
        )
        ids = torch.tensor([list(range(6, 30))])
        with torch.inference_mode():
            assert (merged(ids).logits - base(ids).logits).abs().max() > 1e-3

    def test_training_goes_on_from_an_adapter(self, said, tmp_path):
        first = said(LORA)
        run_recipe(first, device=CPU)
        again = said("full", model={"from": first.out}, out=str(tmp_path / "again"))
        result = run_recipe(again, device=CPU)
        assert result.valid_before == pytest.approx(
            json.loads((Path(first.out) / "result.json").read_text())["loss"]["valid_after"], rel=1e-4
        )
        assert (tmp_path / "again" / "model.safetensors").is_file()

    def test_an_adapter_of_an_adapter_is_refused(self, said, tmp_path):
        first = said(LORA)
        run_recipe(first, device=CPU)
        with pytest.raises(InvalidParameter, match="turnwise merge"):
            run_recipe(said(LORA, model={"from": first.out}, out=str(tmp_path / "again")), device=CPU)

    def test_a_small_change_of_a_base_in_half_precision_is_not_rounded_away(
        self, said, tmp_path, tiny_config, tokenizer
    ):
        export_model(tmp_path / "half", checkpoint.create(tiny_config, seed=0), tokenizer, dtype=torch.bfloat16)
        recipe = said({**LORA, "alpha": 0.01}, model={"from": str(tmp_path / "half")})
        run_recipe(recipe, device=CPU)
        plain, adapted = parameters(tmp_path / "half"), parameters(recipe.out)
        change = load_file(Path(recipe.out) / "adapter_model.safetensors")
        module = "base_model.model.model.layers.0.mlp.down_proj"
        delta = 0.01 / 4 * change[f"{module}.lora_B.weight"] @ change[f"{module}.lora_A.weight"]
        name = "layers.0.mlp.down.weight"
        torch.testing.assert_close(adapted[name] - plain[name], delta, atol=1e-7, rtol=1e-2)

    def test_what_came_out_may_be_replaced(self, said):
        recipe = said(LORA)
        run_recipe(recipe, device=CPU)
        run_recipe(recipe, device=CPU, overwrite=True)

    def test_an_encoder_decoder_is_adapted_in_its_linear_layers(self, said, tmp_path, base_folder):
        data = {"train": str(written(FOUR * 3, tmp_path / "data.jsonl"))}
        model = {"new": {"family": "t5", **SIZES}, "tokenizer": str(base_folder)}
        base = said("full", objective="seq2seq", model=model, data=data, out=str(tmp_path / "t5"))
        run_recipe(base, device=CPU)
        recipe = said(LORA, objective="seq2seq", model={"from": base.out}, data=data)
        run_recipe(recipe, device=CPU)
        names = load_file(Path(recipe.out) / "adapter_model.safetensors")
        assert names
        assert not any("relative_attention_bias" in name for name in names)

    def test_the_same_seed_gives_the_same_adapter(self, said, tmp_path):
        made = []
        for name in ("one", "other"):
            recipe = said(LORA, out=str(tmp_path / name))
            run_recipe(recipe, device=CPU)
            made.append(load_file(tmp_path / name / "adapter_model.safetensors"))
        assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])

    def test_targets_are_patterns(self, said):
        base = (recipe := said({**LORA, "target_modules": ["*.mlp.*"]})).method.prepare(load_base_model(recipe), 0)
        learning = {n for n, p in base.model.module.named_parameters() if p.requires_grad}
        assert learning
        assert all(".mlp." in name for name in learning)
        with pytest.raises(InvalidParameter, match=r"No linear layer matches \['\*attn\*'\]; the model has layers"):
            run_recipe(said({**LORA, "target_modules": ["*attn*"]}), device=CPU)

    def test_a_new_model_is_not_adapted(self, said, base_folder):
        model = {"new": {**SIZES, "num_kv_heads": 2}, "tokenizer": str(base_folder)}
        with pytest.raises(InvalidParameter, match="needs an existing model"):
            run_recipe(said(LORA, model=model), device=CPU)


class TestDamagedAdapters:
    @pytest.fixture
    def adapter(self, said, tmp_path, tiny_config, tokenizer):
        from turnwise.models.checkpoint import create

        export_model(tmp_path / "base", create(tiny_config, seed=0), tokenizer)
        recipe = said(LORA, model={"from": str(tmp_path / "base")})
        run_recipe(recipe, device=CPU)
        return Path(recipe.out)

    def test_a_base_that_has_changed_since(self, adapter, tmp_path, tiny_config, tokenizer):
        export_model(tmp_path / "base", checkpoint.create(tiny_config, seed=1), tokenizer)
        with pytest.raises(UserError, match="its base has changed since"):
            checkpoint.load(adapter)

    def test_a_base_that_is_gone(self, adapter, tmp_path):
        (tmp_path / "base").rename(tmp_path / "elsewhere")
        with pytest.raises(ModelNotFound, match=r"is an adapter of the model .*base, which does not exist"):
            checkpoint.load(adapter)

    @pytest.mark.parametrize(
        ("key", "value", "says"),
        [("peft_type", "IA3", "type 'IA3'"), ("bias", "all", "'bias'"), ("rank_pattern", {"q": 3}, "'rank_pattern'")],
    )
    def test_a_kind_that_we_do_not_compute(self, adapter, key, value, says):
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        with pytest.raises(UserError, match=says):
            checkpoint.load(adapter)

    def test_weights_that_its_base_does_not_have(self, adapter, tmp_path, tiny_config, tokenizer):
        export_model(tmp_path / "base", checkpoint.create(replace(tiny_config, num_layers=1), seed=0), tokenizer)
        (adapter / "adapter_base.json").unlink()
        with pytest.raises(UserError, match=r"changes 'model\.layers\.1.*which its base .* does not have"):
            checkpoint.load(adapter)

    def test_a_file_that_is_cut(self, adapter):
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(UserError, match="is damaged"):
            checkpoint.load(adapter)
