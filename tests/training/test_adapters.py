"""LoRA, DoRA and QLoRA: training, and adapters in peft's format."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_runs import CPU, LORA, SIZES, logits, parameters, written_by_peft
from safetensors.torch import load_file
from sample_items import FOUR, written

from turnwise.core.errors import InvalidParameter, ModelNotFound, UserError
from turnwise.models import checkpoint, transformers_checkpoint
from turnwise.models.adapter_config import adapter_base_folder
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.quantization import QuantizedLinear
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.run_recipe import run_recipe

pytestmark = [
    pytest.mark.usefixtures("no_loss_plot", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestAdapters:
    @pytest.mark.costly
    @pytest.mark.parametrize("more", [{}, {"dora": True}, {"rank": 2, "alpha": 9, "dropout": 0.1}], ids=str)
    def test_the_served_model_has_the_same_logits_as_the_trained_one(self, method_recipe, more, valid_chats):
        """The perplexity measured on the exported folder equals the run's validation loss."""
        from torch_reference.perplexity import measure_perplexity
        from turnwise.data.sources import read_source

        recipe = method_recipe({**LORA, **more})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        out = Path(recipe.out)
        assert sorted(path.name for path in out.glob("*.safetensors")) == ["adapter_model.safetensors"]
        model = checkpoint.load(out, dtype=torch.float32).decoder
        perplexity = measure_perplexity(
            model, Renderer.from_tokenizer(Tokenizer.load(out)), list(read_source(valid_chats))
        )
        assert perplexity.nats / perplexity.tokens == pytest.approx(result.valid_after, rel=1e-4)

    @pytest.mark.costly
    @pytest.mark.parametrize("more", [{}, {"dora": True}], ids=str)
    def test_peft_loads_the_adapter_with_the_same_logits(self, method_recipe, base_folder, more):
        import peft
        import transformers

        recipe = method_recipe({**LORA, **more})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
        theirs = peft.PeftModel.from_pretrained(theirs, recipe.out).eval()
        ids = list(range(6, 40))
        with torch.inference_mode():
            expected = theirs(torch.tensor([ids])).logits
        torch.testing.assert_close(logits(Path(recipe.out), ids), expected, atol=1e-4, rtol=1e-4)
        assert (expected - logits(base_folder, ids)).abs().max() > 0.1

    def test_an_adapter_written_by_peft_has_the_same_logits(self, base_folder, tmp_path):
        """Query, key and value have separate factors."""

        theirs = written_by_peft(base_folder, tmp_path / "theirs")
        ids = list(range(6, 40))
        with torch.inference_mode():
            expected = theirs.eval()(torch.tensor([ids])).logits
        torch.testing.assert_close(logits(tmp_path / "theirs", ids), expected, atol=1e-4, rtol=1e-4)

    @pytest.mark.costly
    def test_gpt2_with_transposed_matrices(self, method_recipe, gpt2_folder):
        import peft
        import transformers

        recipe = method_recipe(LORA, model={"from": str(gpt2_folder)})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(gpt2_folder, dtype=torch.float32)
        theirs = peft.PeftModel.from_pretrained(theirs, recipe.out).eval()
        ids = list(range(6, 40))
        with torch.inference_mode():
            torch.testing.assert_close(
                logits(Path(recipe.out), ids), theirs(torch.tensor([ids])).logits, atol=1e-4, rtol=1e-4
            )

    @pytest.mark.costly
    @pytest.mark.parametrize("bits", ["int8", "int4"])
    def test_the_base_weights_are_quantized_during_training(self, method_recipe, bits):
        recipe = method_recipe({**LORA, "quantize": bits})
        base = recipe.method.prepare(load_base_model(recipe), 0)
        layers = [layer for layer in base.model.module.modules() if isinstance(layer, QuantizedLinear)]
        assert len(layers) == 8
        plain = load_base_model(recipe).model.module.layers[0].mlp.up.weight
        held = base.model.module.layers[0].mlp.up.base_layer
        assert held.quantized.nbytes == plain.nbytes // (4 if bits == "int8" else 8)
        assert (held.weight - plain).abs().max() < plain.abs().max() / (60 if bits == "int8" else 6)
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before

    def test_gradients_through_a_quantized_layer_equal_those_of_its_dequantized_weights(self):
        layer = torch.nn.Linear(32, 24)
        rounded = QuantizedLinear(layer, 4)
        plain = torch.nn.Linear(32, 24)
        plain.weight, plain.bias = torch.nn.Parameter(rounded.weight), layer.bias
        x = torch.randn(5, 32, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        (rounded(x).square().sum()).backward()
        (plain(y).square().sum()).backward()
        torch.testing.assert_close(x.grad, y.grad)

    @pytest.mark.costly
    def test_a_decoder_loaded_by_transformers(self, method_recipe, neox_folder):
        recipe = method_recipe(LORA, model={"from": str(neox_folder)})
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

    @pytest.mark.costly
    def test_training_continues_from_an_adapter(self, method_recipe, tmp_path):
        first = method_recipe(LORA)
        run_recipe(first, device=CPU)
        again = method_recipe("full", model={"from": first.out}, out=str(tmp_path / "again"))
        result = run_recipe(again, device=CPU)
        assert result.valid_before == pytest.approx(
            json.loads((Path(first.out) / "result.json").read_text())["loss"]["valid_after"], rel=1e-4
        )
        assert (tmp_path / "again" / "model.safetensors").is_file()

    @pytest.mark.costly
    @pytest.mark.parametrize("more", [{}, {"rank": 6}, {"dora": True}], ids=str)
    def test_the_training_of_an_adapter_continues(self, method_recipe, base_folder, tmp_path, more):
        """The result is an adapter of the same base model, and begins where the first one ended."""
        first = method_recipe(LORA)
        before = run_recipe(first, device=CPU)
        again = method_recipe({**LORA, **more}, model={"from": first.out}, out=str(tmp_path / "again"))
        after = run_recipe(again, device=CPU)
        assert after.valid_before == pytest.approx(before.valid_after, rel=1e-4)
        assert after.valid_after < after.valid_before
        assert adapter_base_folder(Path(again.out)) == base_folder

    @pytest.mark.costly
    def test_the_training_of_an_adapter_by_peft_continues_with_the_rank_of_its_joined_factors(
        self, method_recipe, base_folder, tmp_path
    ):
        written_by_peft(base_folder, tmp_path / "theirs")  # rank 3 of query and value, joined: 6
        lora = {**LORA, "rank": 6}
        recipe = method_recipe(lora, model={"from": str(tmp_path / "theirs")}, training={"learning_rate": 1e-9})
        run_recipe(recipe, device=CPU)
        ids = list(range(6, 40))
        torch.testing.assert_close(logits(recipe.out, ids), logits(tmp_path / "theirs", ids), atol=1e-4, rtol=1e-4)
        with pytest.raises(InvalidParameter, match=r"has rank 6 in .* at least 6"):
            run_recipe(recipe.model_copy(update={"method": method_recipe(LORA).method}), device=CPU, overwrite=True)

    @pytest.mark.costly
    def test_an_adapter_that_cannot_be_continued_is_rejected(self, method_recipe, tmp_path):
        dora = method_recipe({**LORA, "dora": True})
        run_recipe(dora, device=CPU)
        with pytest.raises(InvalidParameter, match=r"is a DoRA adapter.*turnwise merge"):
            run_recipe(method_recipe(LORA, model={"from": dora.out}, out=str(tmp_path / "again")), device=CPU)
        mlp = {**LORA, "target_modules": ["*.mlp.*"]}
        first = method_recipe(LORA, out=str(tmp_path / "lora"))
        run_recipe(first, device=CPU)
        with pytest.raises(InvalidParameter, match="'target_modules' leaves out"):
            run_recipe(method_recipe(mlp, model={"from": first.out}, out=str(tmp_path / "again")), device=CPU)

    @pytest.mark.costly
    def test_a_small_change_of_a_base_in_half_precision_is_not_rounded_away(
        self, method_recipe, tmp_path, tiny_config, tokenizer
    ):
        export_model(tmp_path / "half", checkpoint.create(tiny_config, seed=0), tokenizer, dtype=torch.bfloat16)
        recipe = method_recipe({**LORA, "alpha": 0.01}, model={"from": str(tmp_path / "half")})
        run_recipe(recipe, device=CPU)
        plain, adapted = parameters(tmp_path / "half"), parameters(recipe.out)
        change = load_file(Path(recipe.out) / "adapter_model.safetensors")
        module = "base_model.model.model.layers.0.mlp.down_proj"
        delta = 0.01 / 4 * change[f"{module}.lora_B.weight"] @ change[f"{module}.lora_A.weight"]
        name = "layers.0.mlp.down.weight"
        torch.testing.assert_close(adapted[name] - plain[name], delta, atol=1e-7, rtol=1e-2)

    @pytest.mark.costly
    def test_an_adapter_folder_can_be_overwritten(self, method_recipe):
        recipe = method_recipe(LORA)
        run_recipe(recipe, device=CPU)
        run_recipe(recipe, device=CPU, overwrite=True)

    @pytest.mark.costly
    def test_the_linear_layers_of_an_encoder_decoder_get_adapters(self, method_recipe, tmp_path, base_folder):
        data = {"train": str(written(FOUR * 3, tmp_path / "data.jsonl"))}
        model = {"new": {"family": "t5", **SIZES}, "tokenizer": str(base_folder)}
        base = method_recipe("full", objective="seq2seq", model=model, data=data, out=str(tmp_path / "t5"))
        run_recipe(base, device=CPU)
        recipe = method_recipe(LORA, objective="seq2seq", model={"from": base.out}, data=data)
        run_recipe(recipe, device=CPU)
        names = load_file(Path(recipe.out) / "adapter_model.safetensors")
        assert names
        assert not any("relative_attention_bias" in name for name in names)

    @pytest.mark.costly
    def test_the_same_seed_gives_the_same_adapter(self, method_recipe, tmp_path):
        made = []
        for name in ("one", "other"):
            recipe = method_recipe(LORA, out=str(tmp_path / name))
            run_recipe(recipe, device=CPU)
            made.append(load_file(tmp_path / name / "adapter_model.safetensors"))
        assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])

    def test_target_modules_are_patterns(self, method_recipe):
        base = (recipe := method_recipe({**LORA, "target_modules": ["*.mlp.*"]})).method.prepare(
            load_base_model(recipe), 0
        )
        learning = {n for n, p in base.model.module.named_parameters() if p.requires_grad}
        assert learning
        assert all(".mlp." in name for name in learning)
        with pytest.raises(InvalidParameter, match=r"No linear layer matches \['\*attn\*'\]; the model has layers"):
            run_recipe(method_recipe({**LORA, "target_modules": ["*attn*"]}), device=CPU)

    def test_lora_needs_an_existing_model(self, method_recipe, base_folder):
        model = {"new": {**SIZES, "num_kv_heads": 2}, "tokenizer": str(base_folder)}
        with pytest.raises(InvalidParameter, match="needs an existing model"):
            run_recipe(method_recipe(LORA, model=model), device=CPU)


class TestDamagedAdapters:
    @pytest.fixture
    def adapter(self, tmp_path, tiny_config, tokenizer):
        """A random adapter of both layers of the model in `base`."""
        export_model(tmp_path / "base", checkpoint.create(tiny_config, seed=0), tokenizer)
        size = tiny_config.hidden_size
        weights = {
            f"model.layers.{layer}.self_attn.q_proj": LoraWeights(torch.randn(2, size), torch.randn(size, 2))
            for layer in range(tiny_config.num_layers)
        }
        (folder := tmp_path / "adapter").mkdir()
        save_adapter(folder, weights, base=tmp_path / "base", rank=2, alpha=2, dropout=0, task_type="CAUSAL_LM")
        return folder

    def test_a_changed_base_model_is_rejected(self, adapter, tmp_path, tiny_config, tokenizer):
        export_model(tmp_path / "base", checkpoint.create(tiny_config, seed=1), tokenizer)
        with pytest.raises(UserError, match="its base has changed since"):
            checkpoint.load(adapter)

    def test_a_missing_base_model_is_rejected(self, adapter, tmp_path):
        (tmp_path / "base").rename(tmp_path / "elsewhere")
        with pytest.raises(ModelNotFound, match=r"is an adapter of the model .*base, which does not exist"):
            checkpoint.load(adapter)

    @pytest.mark.parametrize(
        ("key", "value", "says"),
        [("peft_type", "IA3", "type 'IA3'"), ("bias", "all", "'bias'"), ("rank_pattern", {"q": 3}, "'rank_pattern'")],
    )
    def test_an_unsupported_adapter_type_is_rejected(self, adapter, key, value, says):
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        with pytest.raises(UserError, match=says):
            checkpoint.load(adapter)

    def test_weights_without_a_base_layer_are_rejected(self, adapter, tmp_path, tiny_config, tokenizer):
        export_model(tmp_path / "base", checkpoint.create(replace(tiny_config, num_layers=1), seed=0), tokenizer)
        (adapter / "adapter_base.json").unlink()
        with pytest.raises(UserError, match=r"changes 'model\.layers\.1.*which its base .* does not have"):
            checkpoint.load(adapter)

    def test_a_truncated_file_is_rejected(self, adapter):
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(UserError, match="is damaged"):
            checkpoint.load(adapter)
