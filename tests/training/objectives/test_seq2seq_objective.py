"""Encoder-decoders: the history of a reply, start ids and the formula of the loss."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from objective_runs import (
    CPU,
    dataset,
    seq2seq,
    step_loss,
)
from sample_items import FOUR, dialogue, written

from turnwise.models import transformers_checkpoint
from turnwise.training.examples.example import IGNORED
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.objective import ExampleContext


class TestSeq2Seq:
    def test_the_encoder_input_is_the_history_of_the_reply(self, renderer):
        frame = ExampleContext(renderer, 128, (9,))
        first, second = seq2seq.examples(FOUR[1], frame)
        prompts = [renderer.render(FOUR[1].messages[:i], add_generation_prompt=True).ids for i in (1, 3)]
        assert [first.encoder_ids.tolist(), second.encoder_ids.tolist()] == prompts
        reply_ids = [*renderer.tokenizer.encode("Sehr gern!"), renderer.tokenizer.eos_token_id]
        assert second.targets.tolist() == reply_ids
        assert second.ids.tolist() == [9, *reply_ids[:-1]]

    def test_two_decoder_start_ids_precede_the_first_target(self, renderer):
        example = next(seq2seq.examples(FOUR[0], ExampleContext(renderer, 128, (9, 8))))
        assert example.ids[:2].tolist() == [9, 8]
        assert example.targets[0] == IGNORED
        assert example.targets[1:].tolist() == [
            *renderer.tokenizer.encode("How can I help you today?"),
            renderer.tokenizer.eos_token_id,
        ]

    def test_a_long_history_loses_its_oldest_exchanges(self, renderer):
        talk = dialogue(*["The lamp is broken again"] * 19, "Thank you")
        example = list(seq2seq.examples(talk, ExampleContext(renderer, 60, (9,))))[-1]
        fitting = [renderer.render(talk.messages[i:-1], add_generation_prompt=True).ids for i in range(0, 19, 2)]
        assert example.encoder_ids.tolist() == next(ids for ids in fitting if len(ids) < 60)

    @torch.no_grad()
    def test_the_loss_equals_that_of_transformers(self, renderer, model_for):
        """Batched with padding on both sides, as transformers computes it for one reply at a time."""
        model = model_for(seq2seq)
        data = dataset(seq2seq, FOUR, renderer, model)
        collated = list(data.batches(3))
        loss = step_loss(seq2seq, model, collated).item()
        summed = 0.0
        for index in range(len(data)):
            example = data.example(index)
            out = model.module(
                input_ids=torch.from_numpy(example.encoder_ids[None].astype(np.int64)),
                labels=torch.from_numpy(example.targets[None].astype(np.int64)),
            )
            summed += out.loss.item() * len(example.targets)
        assert loss == pytest.approx(summed / len(data), rel=1e-4)


@pytest.mark.costly
def test_decoder_start_ids_are_the_same_in_training_and_serving(recipe, tmp_path, tokenizer, no_loss_plot):
    """Also if only the base's config has them; transformers moves them when it saves."""
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=96,
        decoder_start_token_id=2, forced_bos_token_id=5, forced_eos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
    (tmp_path / "bart" / "generation_config.json").unlink()
    published = json.loads((tmp_path / "bart" / "config.json").read_text())
    (tmp_path / "bart" / "config.json").write_text(json.dumps({**published, "forced_bos_token_id": 5}))
    tokenizer.save(tmp_path / "bart")
    data = {"train": str(written(FOUR * 2, tmp_path / "data.jsonl"))}
    model = {"from": str(tmp_path / "bart")}
    run_config = recipe(objective="seq2seq", model=model, data=data, max_steps=1, neftune_noise_alpha=5.0)
    start = transformers_checkpoint.load(tmp_path / "bart").decoder_start_ids
    run_recipe(run_config, device=CPU)
    assert transformers_checkpoint.load(Path(run_config.out)).decoder_start_ids == start
