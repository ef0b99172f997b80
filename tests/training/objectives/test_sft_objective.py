"""Supervised fine-tuning: targets, weights and the formula of the loss."""

from dataclasses import replace

import pytest
import torch
from objective_runs import encoded, gradient, sft, single, step_loss
from sample_items import FOUR, dialogue
from torch.nn import functional as F

from turnwise.core.messages import Conversation, Message
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.log_probs import cross_entropy_sum
from turnwise.training.objectives import OBJECTIVES


class TestSft:
    @torch.no_grad()
    def test_the_loss_equals_the_formula(self, renderer, model_for):
        """L = −1/N Σᵢ Σₖ log P(yₖ | xᵢ, y₁ … yₖ₋₁), reply by reply and token by token from the plain model."""
        loaded = model_for(sft)
        model, summed, replies = loaded.decoder, 0.0, 0
        for talk in FOUR:
            for i, message in enumerate(talk.messages):
                if message.role != "assistant":
                    continue
                x = renderer.render(talk.messages[:i], add_generation_prompt=True).ids
                y = [*renderer.tokenizer.encode(message.content), renderer.tokenizer.eos_token_id]
                for k in range(len(y)):
                    logits_V = model.logits(model(torch.tensor([x + y[:k]])))[0, -1]
                    summed -= F.log_softmax(logits_V, dim=0)[y[k]].item()
                replies += 1
        batch = single(sft, FOUR, renderer, loaded)
        assert batch.units == replies == 5
        assert step_loss(sft, loaded, [batch]).item() == pytest.approx(summed / replies, rel=1e-5)

    @torch.no_grad()
    def test_an_optimizer_step_averages_over_all_its_replies(self, trainer, recipe):
        """The reported loss is per token, the gradient per reply."""
        run = trainer(recipe(micro_batch_size=1, max_grad_norm=1e9))
        rows = run.data.train.rows()[:4]
        batch = run.data.train.batch(rows)
        with torch.enable_grad():
            (cross_entropy_sum(run.model, batch) / batch.units).backward()
        expected = gradient(run.model)
        run.module.zero_grad()
        seen = []
        for optimizer in run.checkpoints.optimizers:
            optimizer.step = lambda: seen.append(gradient(run.model))
        with torch.enable_grad():
            report = run.optimizer_step(rows)
        assert (seen[0] - expected).abs().max() <= 1e-6
        assert report.loss == pytest.approx(cross_entropy_sum(run.model, batch).item() / batch.target_weight, rel=1e-5)
        assert report.grad_norm == pytest.approx(expected.norm().item() * batch.units / batch.target_weight, rel=1e-4)

    def learned(self, example, renderer):
        return renderer.tokenizer.decode(example.targets[example.target_mask].tolist(), skip_special_tokens=False)

    def test_only_assistant_messages_are_targets(self, renderer):
        (example,) = encoded(sft, FOUR[1:2], renderer)
        assert self.learned(example, renderer) == "I'd like to order a new one.<|end|>Sehr gern!<|end|>"
        assert example.units == 2

    def test_with_turns_last_only_the_last_reply_is_a_target(self, renderer):
        (example,) = encoded(OBJECTIVES.parse_plugin({"name": "sft", "turns": "last"}), FOUR[1:2], renderer)
        assert self.learned(example, renderer) == "Sehr gern!<|end|>"
        assert example.units == 1

    def test_a_message_of_weight_zero_is_context_and_no_target(self, renderer):
        first, *rest = FOUR[1].messages
        talk = Conversation((first, replace(rest[0], weight=0.0), *rest[1:]))
        (example,) = encoded(sft, [talk], renderer)
        assert self.learned(example, renderer) == "Sehr gern!<|end|>"
        assert example.ids.tolist() == encoded(sft, FOUR[1:2], renderer)[0].ids.tolist()

    def test_a_dialogue_of_weight_zero_has_no_example(self, renderer):
        talk = Conversation((FOUR[0].messages[0], replace(FOUR[0].messages[1], weight=0.0)))
        assert not encoded(sft, [talk], renderer)

    @torch.no_grad()
    def test_a_message_of_weight_three_counts_like_three_messages(self, renderer, model_for):
        model = model_for(sft)
        heavy = Conversation((FOUR[0].messages[0], replace(FOUR[0].messages[1], weight=3.0)))
        losses = [
            step_loss(sft, model, [single(sft, items, renderer, model)])
            for items in ([heavy, FOUR[3]], [FOUR[0], FOUR[0], FOUR[0], FOUR[3]])
        ]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)

    def test_weights_follow_a_truncated_dialogue(self, renderer):
        talk = [Message(("user", "assistant")[i % 2], "Thank you " * 6, weight=1 + i) for i in range(6)]
        untruncated = encoded(sft, [Conversation(tuple(talk))], renderer, length=500)
        pieces = encoded(sft, [Conversation(tuple(talk))], renderer, length=untruncated[0].size - 1)
        assert len(pieces) > 1
        assert sum(piece.weights[piece.target_mask].sum() for piece in pieces) == pytest.approx(
            sum(e.weights[e.target_mask].sum() for e in untruncated)
        )

    def test_user_messages_are_not_targets(self, renderer, model_for):
        """No reply follows the last user message, so its text changes nothing."""
        model = model_for(sft)
        talks = [dialogue("Hello", "How can I help you?", last) for last in ("Thank you", "Order the lamp")]
        losses = [step_loss(sft, model, [single(sft, [talk], renderer, model)]) for talk in talks]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)

    def test_a_dialogue_without_an_assistant_message_has_no_example(self, renderer):
        assert not encoded(sft, [dialogue("Hello")], renderer)

    def test_a_reply_that_the_template_omits_is_no_target(self, tokenizer):
        template = "{% for m in messages[1:] %}<|assistant|>{{ m['content'] }}<|end|>{% endfor %}"
        talk = Conversation((Message("assistant", "Welcome"), Message("assistant", "How can I help?")))
        (example,) = encoded(sft, [talk], Renderer(tokenizer, template))
        assert example.units == 1
