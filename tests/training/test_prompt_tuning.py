"""Prompt tuning: trainable virtual tokens before every dialogue."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_runs import CPU, parameters, served
from sample_items import FOUR

from turnwise.core.errors import InvalidParameter
from turnwise.models import checkpoint, transformers_checkpoint
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.run_recipe import run_recipe

pytestmark = [
    pytest.mark.usefixtures("no_loss_plot", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestPromptTuning:
    SOFT = {"name": "prompt_tuning", "num_virtual_tokens": 5}  # noqa: RUF012

    def test_only_the_virtual_tokens_are_trained(self, method_recipe):
        recipe = method_recipe(self.SOFT)
        base = recipe.method.prepare(load_base_model(recipe), 0)
        assert {n: p.shape for n, p in base.model.module.named_parameters() if p.requires_grad} == {
            "embed.vectors": (5, 32)
        }

    @pytest.mark.costly
    @pytest.mark.parametrize("tied", [True, False])
    def test_the_served_model_has_the_same_logits_as_the_trained_one(
        self, method_recipe, tied, valid_chats, tmp_path, tiny_config, tokenizer
    ):
        """Other weights stay; the vectors are rows of the embedding, and the template has their tokens."""
        from torch_reference.perplexity import measure_perplexity
        from turnwise.data.sources import read_source

        export_model(tmp_path / "base", checkpoint.create(replace(tiny_config, tied=tied), seed=0), tokenizer)
        recipe = method_recipe(self.SOFT, model={"from": str(tmp_path / "base")})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        before, after = parameters(tmp_path / "base"), parameters(Path(recipe.out))
        size = tokenizer.vocab_size
        assert all(torch.equal(before[name], after[name][: len(before[name])]) for name in before)
        assert after["embed.weight"].shape == (size + 5, 32)
        out, talk = Path(recipe.out), FOUR[1]
        renderer = Renderer.from_tokenizer(Tokenizer.load(out))
        assert renderer.render(talk.messages).ids[:5] == list(range(size, size + 5))
        model = checkpoint.load(out, dtype=torch.float32).decoder
        perplexity = measure_perplexity(model, renderer, list(read_source(valid_chats)))
        # The saved head also has logits for the new tokens, which are suppressed.
        assert perplexity.nats / perplexity.tokens == pytest.approx(result.valid_after, rel=0.02)
        request = served(out, talk)
        assert request.prompt_ids == tuple(renderer.render(talk.messages[:-1], add_generation_prompt=True).ids)
        assert {id for id, bias in request.params.logit_bias if bias == -100} == set(range(size, size + 5))

    @pytest.mark.costly
    def test_a_second_prompt_tuning_is_rejected(self, method_recipe, tmp_path):
        first = method_recipe(self.SOFT)
        run_recipe(first, device=CPU)
        with pytest.raises(InvalidParameter, match="has virtual tokens already"):
            run_recipe(method_recipe(self.SOFT, model={"from": first.out}, out=str(tmp_path / "again")), device=CPU)

    def test_virtual_tokens_can_be_initialized_from_text(self, method_recipe, tokenizer):
        recipe = method_recipe({**self.SOFT, "init_text": "Hello, how can I"})
        base = load_base_model(recipe)
        words = base.tokenizer.encode("Hello, how can I")
        rows = base.model.module.embed.weight[[words[i % len(words)] for i in range(5)]].clone()
        assert torch.equal(recipe.method.prepare(base, 0).model.module.embed.vectors, rows)

    @pytest.mark.costly
    def test_a_decoder_loaded_by_transformers(self, method_recipe, neox_folder, tokenizer):
        recipe = method_recipe(self.SOFT, model={"from": str(neox_folder)})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        saved = transformers_checkpoint.load(Path(recipe.out)).module
        assert saved.get_input_embeddings().weight.shape[0] == tokenizer.vocab_size + 5

    @pytest.mark.costly
    def test_transformers_renders_the_same_ids(self, method_recipe):
        import transformers

        recipe = method_recipe(self.SOFT)
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoTokenizer.from_pretrained(recipe.out)
        messages = [message.as_dict() for message in FOUR[1].messages]
        ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        assert ids == Renderer.from_tokenizer(Tokenizer.load(recipe.out)).render(FOUR[1].messages).ids
