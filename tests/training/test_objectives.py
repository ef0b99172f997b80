"""Objectives: one suite over whatever the folder holds, then the formula of each."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.batches import Example, collate
from turnwise.data.sources import Document
from turnwise.text.render import Renderer
from turnwise.training.loop import summed_loss
from turnwise.training.objectives import clm, names, objective, sft


def dialogue(*texts):
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)))


FOUR = [
    dialogue("Hello", "How can I help you today?"),
    dialogue("The lamp is broken", "I'd like to order a new one.", "Thank you", "Sehr gern!"),
    dialogue("你好", "请问我能帮你什么忙?"),
    dialogue("Order 1234567", "It's on its way 🚚."),
]


@pytest.fixture(scope="module")
def renderer(tokenizer):
    return Renderer.of(tokenizer)


def encoded(how, items, renderer):
    return [example for item in items for example in how.encode(item, renderer)]


def loss(how, model, batch):
    return summed_loss(model, batch) / how.share(batch)


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", names())
class TestEveryObjective:
    def test_the_loss_falls_on_four_samples(self, name, renderer, tiny_model):
        how, model = objective(name), tiny_model.decoder
        batch = collate([[example] for example in encoded(how, FOUR, renderer)], pad_id=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses = []
        for _ in range(12):
            losses.append(loss(how, model, batch))
            losses[-1].backward()
            optimizer.step()
            optimizer.zero_grad()
        assert losses[-1] < 0.5 * losses[0]

    def test_a_few_rows_at_a_time_give_the_gradient_of_all_at_once(self, name, renderer, tiny_model):
        """Replies and tokens differ from row to row, so a mean of means would be wrong."""
        how, model = objective(name), tiny_model.decoder
        examples = encoded(how, FOUR, renderer)
        whole = collate([[example] for example in examples], pad_id=0)
        loss(how, model, whole).backward()
        at_once = gradient(model)
        model.zero_grad()
        batches = [collate([[example]], pad_id=0) for example in examples]
        share = sum(how.share(batch) for batch in batches)
        for batch in batches:
            (summed_loss(model, batch) / share).backward()
        assert (gradient(model) - at_once).abs().max() <= 1e-6

    def test_nothing_comes_of_a_dialogue_without_text_to_learn(self, name, renderer):
        assert not [
            piece for example in encoded(objective(name), [Conversation(())], renderer) for piece in example.windows(64)
        ]


def test_an_unknown_objective_is_named_with_the_nearest():
    with pytest.raises(InvalidParameter, match=r"no objective 'stf'.*did you mean 'sft'"):
        objective("stf")


class TestFineTuning:
    @torch.no_grad()
    def test_loss_is_the_formula(self, renderer, tiny_model):
        """L = −1/N Σᵢ Σₖ log P(yₖ | xᵢ, y₁ … yₖ₋₁), reply by reply and token by token from the plain model."""
        model, summed, replies = tiny_model.decoder, 0.0, 0
        for talk in FOUR:
            for i, message in enumerate(talk.messages):
                if message.role != "assistant":
                    continue
                x = renderer.render(talk.messages[:i], add_generation_prompt=True).ids
                y = [*renderer.tokenizer.encode(message.content), renderer.tokenizer.eos_id]
                for k in range(len(y)):
                    logits_V = model.logits(model(torch.tensor([x + y[:k]])))[0, -1]
                    summed -= F.log_softmax(logits_V, dim=0)[y[k]].item()
                replies += 1
        batch = collate([encoded(sft, FOUR, renderer)], pad_id=0)
        assert batch.replies == replies == 5
        assert loss(sft, model, batch).item() == pytest.approx(summed / replies, rel=1e-5)

    @torch.no_grad()
    def test_an_optimiser_step_is_over_all_its_replies(self, trainer, recipe):
        """The step's own report is per token, so that runs can be compared; the gradient is per reply."""
        run = trainer(recipe(micro_rows=1, clip_norm=1e9))
        rows = run.data.train.rows(seed=0)[:4]
        batch = run.data.train.batch(rows)
        with torch.enable_grad():
            (summed_loss(run.model, batch) / batch.replies).backward()
        expected = gradient(run.model)
        run.model.zero_grad()
        seen = []
        for optimizer in run.optimizers:
            optimizer.step = lambda: seen.append(gradient(run.model))
        with torch.enable_grad():
            report = run.optimise(rows)
        assert (seen[0] - expected).abs().max() <= 1e-6
        assert report.loss == pytest.approx(summed_loss(run.model, batch).item() / batch.counted, rel=1e-5)
        assert report.grad_norm == pytest.approx(expected.norm().item() * batch.replies / batch.counted, rel=1e-4)

    def test_only_what_the_assistant_says_is_learned(self, renderer):
        (example,) = sft.encode(FOUR[1], renderer)
        learned = renderer.tokenizer.decode(example.ids[example.counts].tolist(), skip_special=False)
        assert learned == "I'd like to order a new one.<|end|>Sehr gern!<|end|>"
        assert example.replies == 2

    def test_user_turns_are_no_targets(self, renderer, tiny_model):
        """The last user turn is never read by a reply, so what it says changes nothing."""
        talks = [dialogue("Hello", "How can I help you?", last) for last in ("Thank you", "Order the lamp")]
        losses = [loss(sft, tiny_model.decoder, collate([encoded(sft, [talk], renderer)], pad_id=0)) for talk in talks]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)

    def test_a_dialogue_without_an_assistant_turn_gives_nothing(self, renderer):
        assert not list(sft.encode(dialogue("Hello"), renderer))

    def test_a_reply_that_the_template_leaves_out_is_none(self, tokenizer):
        template = "{% for m in messages[1:] %}<|assistant|>{{ m['content'] }}<|end|>{% endfor %}"
        talk = Conversation((Message("assistant", "Welcome"), Message("assistant", "How can I help?")))
        (example,) = sft.encode(talk, Renderer(tokenizer, template))
        assert example.replies == 1


class TestLanguageModelling:
    @torch.no_grad()
    def test_loss_is_the_mean_over_all_predicted_tokens(self, renderer, tiny_model):
        model, summed, predicted = tiny_model.decoder, 0.0, 0
        for talk in FOUR:
            ids = renderer.render(talk.messages).ids
            for k in range(1, len(ids)):
                logits_V = model.logits(model(torch.tensor([ids[:k]])))[0, -1]
                summed -= F.log_softmax(logits_V, dim=0)[ids[k]].item()
                predicted += 1
        batch = collate([encoded(clm, FOUR, renderer)], pad_id=0)
        assert loss(clm, model, batch).item() == pytest.approx(summed / predicted, rel=1e-5)

    def test_a_document_ends_with_the_end_token(self, renderer):
        (example,) = clm.encode(Document("Hello, how can I help?"), renderer)
        assert example.ids.tolist() == [*renderer.tokenizer.encode("Hello, how can I help?"), renderer.tokenizer.eos_id]
        assert example.counts.all()

    def test_markup_in_a_document_stays_text(self, renderer):
        (example,) = clm.encode(Document("so <|end|> it is"), renderer)
        assert (example.ids == renderer.tokenizer.eos_id).sum() == 1

    def test_what_is_predicted_counts(self):
        batch = collate([[Example(np.arange(5, dtype=np.int32), np.ones(5, dtype=bool))]], pad_id=0)
        assert clm.share(batch) == 4
