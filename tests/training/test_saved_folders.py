"""Dtype, chat template and tokenizer of saved model folders."""

import json

import pytest
import torch
from safetensors.torch import load_file

from turnwise.core.errors import UserError
from turnwise.models import checkpoint
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.launch.save_precision import rounding_error
from turnwise.training.recipe import parse_recipe

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


@pytest.fixture
def half_folder(base_folder, tmp_path, tokenizer):
    """The base model in 16 bits."""
    from turnwise.training.export import export_model

    folder = tmp_path / "half"
    export_model(folder, checkpoint.load(base_folder, dtype=torch.float32), tokenizer, dtype=torch.bfloat16)
    return folder


def run(values, folder, **training):
    run_values = {**values, "model": {"from": str(folder)}, "training": {**values["training"], **training}}
    return run_recipe(parse_recipe(run_values, origin="test"), device=CPU)


def types(folder):
    return {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()}


class TestSaveDtype:
    @pytest.mark.costly
    def test_a_16_bit_base_is_saved_in_16_bits_with_its_rounding_error(self, values, half_folder, tmp_path):
        result = run(values, half_folder)
        assert types(tmp_path / "out") == {torch.bfloat16}
        assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
        assert result.saved_as == "bfloat16"
        assert 0 < result.rounding_error < 1
        saved = json.loads((tmp_path / "out" / "result.json").read_text())
        assert saved["rounding_error"] == pytest.approx(result.rounding_error, abs=1e-4)

    @pytest.mark.costly
    def test_the_dtype_can_be_set(self, values, half_folder, tmp_path):
        result = run(values, half_folder, save_dtype="float32")
        assert types(tmp_path / "out") == {torch.float32}
        assert result.rounding_error is None

    @pytest.mark.costly
    def test_a_32_bit_base_has_no_rounding_error(self, values, base_folder, tmp_path):
        result = run(values, base_folder)
        assert types(tmp_path / "out") == {torch.float32}
        assert result.rounding_error is None

    @pytest.mark.costly
    @pytest.mark.parametrize("dtype", ["auto", "float32"])
    def test_a_merged_model_has_the_dtype_of_the_base(self, values, half_folder, tmp_path, dtype):
        import typer
        from typer.testing import CliRunner

        from turnwise.cli.merge import merge

        run({**values, "method": "lora"}, half_folder, learning_rate=0.02)
        app = typer.Typer()
        app.command()(merge)
        words = [str(tmp_path / "out"), "--out", str(tmp_path / "merged"), "--save-dtype", dtype]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0
        rounded = dtype == "auto"
        assert types(tmp_path / "merged") == {torch.bfloat16 if rounded else torch.float32}
        assert ("Saved as bfloat16" in result.stderr) == rounded
        if rounded:
            exact = checkpoint.load(tmp_path / "out", dtype=torch.float32).decoder.state_dict()
            saved = checkpoint.load(tmp_path / "merged", dtype=torch.float32).decoder.state_dict()
            errors = torch.cat([(exact[name] - saved[name]).abs().flatten() for name in exact if ".qkv." in name])
            largest = max(float((exact[name] - saved[name]).abs().max()) for name in exact)
            assert errors.mean() > 0
            assert f"and {largest:.1e} at most" in " ".join(result.stderr.split())

    def test_a_weight_too_large_for_the_dtype_is_rejected(self, base_folder):
        module = checkpoint.load(base_folder, dtype=torch.float32).module
        with torch.no_grad():
            module.embed.weight[0, 0] = 1e6
        assert rounding_error(module, torch.float32).max == 0
        with pytest.raises(UserError, match="too large for float16"):
            rounding_error(module, torch.float16)


class TestTemplates:
    @pytest.mark.costly
    def test_a_base_without_a_template_gets_the_one_used_in_training(self, values, base_folder, tmp_path):
        from turnwise.core.messages import Message
        from turnwise.text.rendering.renderer import FALLBACK_CHAT_TEMPLATE, Renderer
        from turnwise.text.tokenization.tokenizer import Tokenizer

        (base_folder_copy := tmp_path / "plain").mkdir()
        for path in base_folder.iterdir():
            if path.name != "chat_template.jinja":
                (base_folder_copy / path.name).write_bytes(path.read_bytes())
        before = Renderer.from_tokenizer(Tokenizer.load(base_folder_copy))
        run(values, base_folder_copy)
        assert (tmp_path / "out" / "chat_template.jinja").read_text() == FALLBACK_CHAT_TEMPLATE
        from transformers import AutoTokenizer

        theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
        ids = theirs.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=True, return_dict=False)
        assert ids == before.render([Message("user", "Hello")]).ids


class TestTokenizers:
    def test_tokenizer_settings_of_transformers_5_are_not_copied(self, tokenizer, tmp_path):
        from dataclasses import replace

        config = {
            "tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "is_local": True, "local_files_only": True,
            "extra_special_tokens": ["<|mask|>"], "model_max_length": 512,
        }  # fmt: skip
        replace(tokenizer, config=config).save(tmp_path)
        saved = json.loads((tmp_path / "tokenizer_config.json").read_text())
        assert saved["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert not {"backend", "is_local", "local_files_only", "extra_special_tokens"} & saved.keys()
        assert saved["additional_special_tokens"] == ["<|mask|>"]
        assert saved["model_max_length"] == 512

    def test_replacing_the_template_keeps_the_tokens_the_tokenizer_adds(self, tokenizer, tmp_path):
        """The post-processor of the tokenizer stays."""
        from tokenizers.processors import TemplateProcessing

        from turnwise.text.tokenization.tokenizer import Tokenizer

        tokenizer.save(tmp_path)
        raw = json.loads((tmp_path / "tokenizer.json").read_text())
        processor = TemplateProcessing(
            single="<|end|> $A", special_tokens=[("<|end|>", tokenizer.token_to_id("<|end|>"))]
        )
        import tokenizers

        backend = tokenizers.Tokenizer.from_str(json.dumps(raw))
        backend.post_processor = processor
        backend.save(str(tmp_path / "tokenizer.json"))
        Tokenizer.load(tmp_path).with_chat_template("{{ messages }}").save(tmp_path / "again")
        assert (
            json.loads((tmp_path / "again" / "tokenizer.json").read_text())["post_processor"]["type"]
            == "TemplateProcessing"
        )
