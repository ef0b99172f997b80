"""Vectors before every dialogue learn."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_runs import CPU, parameters, served
from samples_of_data import FOUR

from turnwise.core.errors import InvalidParameter
from turnwise.models import checkpoint, transformers_checkpoint
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.run_recipe import run_recipe

pytestmark = [
    pytest.mark.usefixtures("undrawn", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestSoftPrompts:
    SOFT = {"name": "prompt_tuning", "num_virtual_tokens": 5}  # noqa: RUF012

    def test_only_the_vectors_learn(self, said):
        recipe = said(self.SOFT)
        base = recipe.method.prepare(load_base_model(recipe), 0)
        assert {n: p.shape for n, p in base.model.module.named_parameters() if p.requires_grad} == {
            "embed.vectors": (5, 32)
        }

    @pytest.mark.parametrize("tied", [True, False])
    def test_what_is_saved_serves_as_what_was_trained(self, said, tied, unseen, tmp_path, tiny_config, tokenizer):
        """Everything else is as it was, and the vectors are rows of the embedding that the template names."""
        from torch_reference.perplexity import measure_perplexity
        from turnwise.data.sources import read_source

        export_model(tmp_path / "base", checkpoint.create(replace(tiny_config, tied=tied), seed=0), tokenizer)
        recipe = said(self.SOFT, model={"from": str(tmp_path / "base")})
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
        found = measure_perplexity(model, renderer, list(read_source(unseen)))
        # The saved head also scores the new tokens, which are never said.
        assert found.nats / found.tokens == pytest.approx(result.valid_after, rel=0.02)
        request = served(out, talk)
        assert request.prompt_ids == tuple(renderer.render(talk.messages[:-1], add_generation_prompt=True).ids)
        assert {id for id, bias in request.params.logit_bias if bias == -100} == set(range(size, size + 5))

    def test_a_second_one_is_refused(self, said, tmp_path):
        first = said(self.SOFT)
        run_recipe(first, device=CPU)
        with pytest.raises(InvalidParameter, match="has a soft prompt already"):
            run_recipe(said(self.SOFT, model={"from": first.out}, out=str(tmp_path / "again")), device=CPU)

    def test_they_may_begin_as_words(self, said, tokenizer):
        recipe = said({**self.SOFT, "init_text": "Hello, how can I"})
        base = load_base_model(recipe)
        words = base.tokenizer.encode("Hello, how can I")
        rows = base.model.module.embed.weight[[words[i % len(words)] for i in range(5)]].clone()
        assert torch.equal(recipe.method.prepare(base, 0).model.module.embed.vectors, rows)

    def test_a_decoder_that_is_none_of_ours(self, said, neox_folder, tokenizer):
        recipe = said(self.SOFT, model={"from": str(neox_folder)})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        saved = transformers_checkpoint.load(Path(recipe.out)).module
        assert saved.get_input_embeddings().weight.shape[0] == tokenizer.vocab_size + 5

    def test_transformers_reads_the_same_ids(self, said):
        import transformers

        recipe = said(self.SOFT)
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoTokenizer.from_pretrained(recipe.out)
        messages = [message.as_dict() for message in FOUR[1].messages]
        ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        assert ids == Renderer.from_tokenizer(Tokenizer.load(recipe.out)).render(FOUR[1].messages).ids
