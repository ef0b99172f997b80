"""DPO and KTO: log-probabilities of replies and the formulas of the losses."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hooks import RecordingHook
from objective_runs import CPU, batches, dataset, dpo, encoded, kto, step_loss
from sample_items import FOUR, PAIRS, RATED, dialogue, written
from torch.nn import functional as F

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.models.transformers_model import TransformersModel
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.log_probs import segment_log_probs
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES


class TestPreferences:
    def log_prob(self, model, renderer, messages):
        """log P(last message | earlier messages), token by token."""
        x = renderer.render(messages[:-1], add_generation_prompt=True).ids
        y = [*renderer.tokenizer.encode(messages[-1].content), renderer.tokenizer.eos_token_id]
        logits_TV = model.decoder.logits(model.decoder(torch.tensor([x + y])))[0]
        return sum(F.log_softmax(logits_TV[len(x) + k - 1], dim=0)[y[k]].item() for k in range(len(y)))

    @torch.no_grad()
    def test_segment_log_probs_are_those_of_the_replies(self, renderer, model_for):
        model = model_for(dpo)
        data = dataset(dpo, PAIRS, renderer, model)
        batch = data.batch([replace(data.rows()[0], examples=list(range(4)))])
        log_probs = segment_log_probs(model, batch).view(-1, 2).tolist()
        for pair, (chosen, rejected) in zip(PAIRS, log_probs, strict=True):
            assert chosen == pytest.approx(self.log_prob(model, renderer, pair.messages), rel=1e-4)
            assert rejected == pytest.approx(self.log_prob(model, renderer, pair.rejected), rel=1e-4)

    @pytest.mark.parametrize("options", [{}, {"beta": 0.5, "label_smoothing": 0.2}, {"sft_weight": 0.7}])
    @torch.no_grad()
    def test_the_dpo_loss_equals_the_formula(self, renderer, model_for, options):
        objective = OBJECTIVES.parse_plugin({"name": "dpo", **options})
        model = model_for(objective)
        data = dataset(objective, PAIRS, renderer, model)
        base = [[self.log_prob(model, renderer, end) for end in (pair.messages, pair.rejected)] for pair in PAIRS]
        for parameter in model.module.parameters():
            parameter.mul_(1.3)
        beta, smoothing = options.get("beta", 0.1), options.get("label_smoothing", 0.0)
        sft_weight = options.get("sft_weight", 0.0)
        expected, right = 0.0, 0
        for pair, (better, worse) in zip(PAIRS, base, strict=True):
            now = self.log_prob(model, renderer, pair.messages)
            margin = beta * (now - better - self.log_prob(model, renderer, pair.rejected) + worse)
            expected += (1 - smoothing) * math.log1p(math.exp(-margin)) + smoothing * math.log1p(math.exp(margin))
            tokens = len(renderer.tokenizer.encode(pair.messages[-1].content)) + 1
            expected -= sft_weight * now / tokens
            right += margin > 0
        collated = batches(data, 2)
        assert step_loss(objective, model, collated).item() == pytest.approx(expected / 4, rel=1e-4)
        assert sum(objective.loss(model, batch).extra_metrics["accuracy"] for batch in collated) == right

    @torch.no_grad()
    def test_segments_of_a_pair_do_not_attend_to_each_other_in_transformers_models(self, renderer):
        """Only our decoder masks segments within a row; transformers gets one row per segment."""
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        torch.manual_seed(0)
        config = GPTNeoXConfig(
            vocab_size=renderer.tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=128, initializer_range=0.3,
        )  # fmt: skip
        model = TransformersModel(GPTNeoXForCausalLM(config).eval(), "decoder", {})
        frame = ExampleContext(renderer, 128)
        (pair,) = dpo.examples(PAIRS[1], frame)
        together = segment_log_probs(model, collate([[pair]], pad_id=0))
        size = pair.segment_lengths[0]
        ends = [Example(pair.ids[segment], pair.targets[segment]) for segment in (slice(0, size), slice(size, None))]
        alone = [segment_log_probs(model, collate([[end]], pad_id=0)).item() for end in ends]
        assert together.tolist() == pytest.approx(alone, rel=1e-5)

    @torch.no_grad()
    def test_the_dpo_loss_is_log_two_before_training(self, renderer, model_for):
        model = model_for(dpo)
        data = dataset(dpo, PAIRS, renderer, model)
        assert step_loss(dpo, model, batches(data, 4)).item() == pytest.approx(math.log(2), rel=1e-5)

    def test_a_pair_without_a_rejected_reply_is_rejected(self, renderer):
        with pytest.raises(InvalidData, match="rejected"):
            encoded(dpo, FOUR[:1], renderer)

    def test_a_long_prompt_loses_its_beginning_and_both_replies_stay(self, renderer):
        history = dialogue(*["The lamp is broken again"] * 21).messages
        pair = Conversation(
            (*history, Message("assistant", "Thank you")), rejected=(*history, Message("assistant", "No"))
        )
        (example,) = encoded(dpo, [pair], renderer, length=60)
        assert example.size <= 60
        learned = renderer.tokenizer.decode(example.targets[example.target_mask].tolist(), skip_special_tokens=False)
        assert learned == "Thank you<|end|>No<|end|>"

    @torch.no_grad()
    def test_the_kto_loss_equals_the_formula(self, renderer, model_for):
        """z₀ is estimated from each prompt with the previous answer; class weights balance good and bad."""
        model = model_for(kto)
        data = dataset(kto, RATED, renderer, model)
        mismatched = [(*talk.messages[:-1], RATED[i - 1].messages[-1]) for i, talk in enumerate(RATED)]
        base = [self.log_prob(model, renderer, talk.messages) for talk in RATED]
        base_mismatched = [self.log_prob(model, renderer, talk) for talk in mismatched]
        for parameter in model.module.parameters():
            parameter.mul_(1.3)
        gained = [self.log_prob(model, renderer, talk.messages) - b for talk, b in zip(RATED, base, strict=True)]
        others = [self.log_prob(model, renderer, talk) - b for talk, b in zip(mismatched, base_mismatched, strict=True)]
        z = max(0.0, sum(others) / 4)
        expected = 0.0
        for talk, r in zip(RATED, gained, strict=True):
            sign, weight = (1, 1.0) if talk.rating else (-1, 3.0)
            expected += weight * (1 - 1 / (1 + math.exp(-0.1 * sign * (r - z))))
        assert step_loss(kto, model, batches(data, 2)).item() == pytest.approx(expected / 4, rel=1e-4)

    @pytest.mark.costly
    @pytest.mark.parametrize("more", [{"repeat": 0.5}, {"weight": 2}], ids=str)
    def test_partially_repeated_sources_have_reference_log_probs(self, recipe, tmp_path, more, no_loss_plot):
        files = [str(written(PAIRS, tmp_path / f"{name}.jsonl")) for name in "ab"]
        sources = [{"path": files[0], **more}, {"path": files[1], **({"weight": 1} if "weight" in more else {})}]
        dpo_recipe = recipe(objective="dpo", data={"train": sources, "valid": files[1]}, max_steps=2)
        assert run_recipe(dpo_recipe, device=CPU).steps == 2

    def test_hooks_receive_the_progress_of_the_reference_model(self, recipe, tmp_path, no_loss_plot):
        file = str(written(PAIRS, tmp_path / "pairs.jsonl"))
        dpo_recipe = recipe(objective="dpo", data={"train": file, "valid": file}, max_steps=1)
        hook = RecordingHook()
        run_recipe(dpo_recipe, hooks=[hook], device=CPU)
        counts, totals = zip(*hook.references, strict=True)
        assert set(totals) == {len(PAIRS)}
        assert counts.count(len(PAIRS)) == 2, "training and validation data, each once"

    def test_good_and_bad_answers_are_balanced_across_files(self, recipe, renderer, tmp_path):
        from turnwise.training.examples.load_datasets import load_datasets
        from turnwise.training.launch.base_model_loader import load_base_model

        files = [
            str(written([talk for talk in RATED if talk.rating is good], tmp_path / f"{good}.jsonl"))
            for good in (True, False)
        ]
        kto_recipe = recipe(objective="kto", data={"train": files, "valid_fraction": 0})
        base = load_base_model(kto_recipe)
        train = load_datasets(kto_recipe, base.renderer, base.model).train
        assert [shard.segment_labels["rating"].tolist() for shard in train.shards] == [[1.0, 1.0, 1.0], [-3.0]]

    def test_class_weights_in_the_recipe_are_used(self):
        objective = OBJECTIVES.parse_plugin({"name": "kto", "desirable_weight": 2.0, "undesirable_weight": 5.0})
        assert objective.balance_labels("rating", np.array([1, -1, 1], np.float32)).tolist() == [2.0, -5.0, 2.0]

    def test_answers_of_a_single_class_have_weight_one(self):
        assert kto.balance_labels("rating", np.array([1, 1], np.float32)).tolist() == [1.0, 1.0]

    def test_an_answer_without_a_label_is_rejected(self, renderer):
        with pytest.raises(InvalidData, match="no rating"):
            encoded(kto, FOUR[:1], renderer)
