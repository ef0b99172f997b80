"""Offline IQLearn: the formula of the loss, the implied rewards, and what ends a reply."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objective_runs import CPU, SIZES, batches, dataset, encoded, gradient, iqlearn, sft, single, step_loss
from sample_items import FOUR
from torch.nn import functional as F

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.batches import collate
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.objectives.iqlearn import CUT, NEXT_TOKEN, TRANSITION, TURN_END, implied_rewards

HEAVY = Conversation((FOUR[0].messages[0], replace(FOUR[0].messages[1], weight=3.0)))
WEIGHTED = [HEAVY, *FOUR[1:]]
STATES = st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=6)  # logits of 3 tokens


def with_options(**options):
    return OBJECTIVES.parse_plugin({"name": "iqlearn", **options})


def reply_logits(model, renderer, messages, index):
    """Logits of every token of a reply from the plain model, one prefix at a time, and the reply's ids."""
    x = renderer.render(messages[:index], add_generation_prompt=True).ids
    y = [*renderer.tokenizer.encode(messages[index].content), renderer.tokenizer.eos_token_id]
    return [model.logits(model(torch.tensor([x + y[:t]])))[0, -1] for t in range(len(y))], y


def mean_squared_reward(model, data):
    with torch.no_grad():
        outputs = [with_options(regularization=4).loss(model, batch) for batch in data]
    return sum(output.extra_metrics["td"] for output in outputs) / sum(batch.target_weight for batch in data)


class TestLoss:
    @torch.no_grad()
    def test_it_equals_the_formula(self, renderer, model_for):
        """L = −1/Σᵢ wᵢ · Σᵢ wᵢ Σₜ [log π(aₜ|sₜ) − λ/4 · rₜ²] with rₜ = Q(sₜ, aₜ) − γ V(sₜ₊₁)."""
        objective = with_options(regularization=0.3, gamma=0.9)
        loaded = model_for(objective)
        summed = total_td = total_reward = total_weight = 0.0
        for talk in WEIGHTED:
            for index, message in enumerate(talk.messages):
                if message.role != "assistant":
                    continue
                logits, y = reply_logits(loaded.decoder, renderer, talk.messages, index)
                values = [state_V.logsumexp(0).item() for state_V in logits] + [0.0]
                for t, token in enumerate(y):
                    reward = logits[t][token].item() - 0.9 * values[t + 1]
                    summed -= message.weight * (F.log_softmax(logits[t], dim=0)[token].item() - 0.3 / 4 * reward**2)
                    total_td += message.weight * 0.3 / 4 * reward**2
                    total_reward += message.weight * reward
                total_weight += message.weight
        batch = single(objective, WEIGHTED, renderer, loaded)
        assert step_loss(objective, loaded, [batch]).item() == pytest.approx(summed / total_weight, rel=1e-5)
        metrics = objective.loss(loaded, batch).extra_metrics
        assert metrics == pytest.approx({"td": total_td, "reward": total_reward}, rel=1e-5)

    def test_without_regularization_it_is_exactly_that_of_sft(self, renderer, model_for):
        results = []
        for objective in (sft, with_options(regularization=0)):
            model = model_for(objective)
            loss = step_loss(objective, model, [single(objective, WEIGHTED, renderer, model)])
            loss.backward()
            results.append((loss.item(), gradient(model)))
        assert results[0][0] == results[1][0]
        assert torch.equal(results[0][1], results[1][1])

    def test_the_gradient_equals_finite_differences(self, renderer, model_for):
        """Along the gradient of every parameter, and in a random direction of all of them."""
        objective = with_options(regularization=1.0, gamma=0.9)
        model = model_for(objective)
        batch = single(objective, FOUR[:2], renderer, model)
        step_loss(objective, model, [batch]).backward()
        parameters = [p for p in model.module.parameters() if p.grad is not None and p.grad.norm() > 0]
        generator = torch.Generator().manual_seed(0)
        random = [p.grad / p.grad.norm() + torch.randn(p.shape, generator=generator) for p in parameters]
        directions = [[(p, p.grad / p.grad.norm())] for p in parameters]
        directions.append([(p, r / r.norm()) for p, r in zip(parameters, random, strict=True)])
        for direction in directions:
            slope = sum((p.grad * towards).sum().item() for p, towards in direction)
            losses, h = [], 1e-2
            with torch.no_grad():
                for shift in (h, -2 * h):
                    for p, towards in direction:
                        p.add_(shift * towards)
                    losses.append(step_loss(objective, model, [batch]).item())
                for p, towards in direction:
                    p.add_(h * towards)
            assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(slope, rel=0.03, abs=2e-3)

    @torch.no_grad()
    def test_micro_batches_have_the_loss_and_the_metrics_of_the_full_batch(self, renderer, model_for):
        model = model_for(iqlearn)
        data = dataset(iqlearn, WEIGHTED, renderer, model)
        full, micro = batches(data, len(data)), batches(data, 1)
        assert len(micro) == 4
        assert step_loss(iqlearn, model, micro).item() == pytest.approx(step_loss(iqlearn, model, full).item())
        sums = [sum(iqlearn.loss(model, b).extra_metrics["reward"] for b in collated) for collated in (full, micro)]
        assert sums[0] == pytest.approx(sums[1], rel=1e-5)

    @torch.no_grad()
    @pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 2, 0]])
    def test_a_packed_row_has_the_loss_of_its_dialogues_alone(self, renderer, model_for, order):
        model = model_for(iqlearn)
        examples = encoded(iqlearn, WEIGHTED, renderer)
        packed = collate([[examples[i] for i in order]], pad_id=0)
        alone = [collate([[example]], pad_id=0) for example in examples]
        assert step_loss(iqlearn, model, [packed]).item() == pytest.approx(step_loss(iqlearn, model, alone).item())

    @pytest.mark.costly
    def test_the_term_brings_rewards_closer_to_zero_than_sft_does(self, renderer, model_for):
        squares = []
        for objective in (sft, with_options(regularization=1.0)):
            model = model_for(objective)
            collated = batches(dataset(objective, FOUR, renderer, model), 4)
            measured = batches(dataset(iqlearn, FOUR, renderer, model), 4)
            before = mean_squared_reward(model, measured)
            optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-2)
            for _ in range(24):
                step_loss(objective, model, collated).backward()
                optimizer.step()
                optimizer.zero_grad()
            squares.append(mean_squared_reward(model, measured))
        assert squares[1] < 0.5 * squares[0]
        assert squares[1] < 0.5 * before


class TestImpliedRewards:
    @given(st.lists(STATES, min_size=1, max_size=4), st.data())
    def test_those_of_a_reply_sum_to_its_log_probability_plus_the_first_value(self, replies, data):
        """γ = 1: every V cancels except the first."""
        logits_NV = torch.tensor([state for reply in replies for state in reply], dtype=torch.float64)
        targets_N = torch.tensor(
            data.draw(st.lists(st.integers(0, 2), min_size=len(logits_NV), max_size=len(logits_NV)))
        )
        transitions_N = torch.tensor([k for reply in replies for k in [NEXT_TOKEN] * (len(reply) - 1) + [TURN_END]])
        losses_N = F.cross_entropy(logits_NV, targets_N, reduction="none")
        logits_N = logits_NV.gather(1, targets_N[:, None])[:, 0]
        rewards_N = implied_rewards(losses_N, logits_N, transitions_N, 1.0)
        start = 0
        for reply in replies:
            span = slice(start, start + len(reply))
            first_value = logits_NV[start].logsumexp(0)
            assert rewards_N[span].sum().item() == pytest.approx((first_value - losses_N[span].sum()).item(), abs=1e-9)
            start += len(reply)

    def test_the_next_value_is_discounted(self):
        losses_N, logits_N = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])  # V = 4, 6
        transitions_N = torch.tensor([NEXT_TOKEN, TURN_END])
        assert implied_rewards(losses_N, logits_N, transitions_N, 0.5).tolist() == [3 - 0.5 * 6, 4]

    def test_the_last_token_of_a_cut_reply_has_none(self):
        losses_N, logits_N = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([3.0, 4.0, 5.0])
        transitions_N = torch.tensor([NEXT_TOKEN, CUT, TURN_END])
        assert implied_rewards(losses_N, logits_N, transitions_N, 1.0).tolist() == [3 - 6, 0, 5]


class TestTransitions:
    def of_targets(self, example):
        return example.token_labels[TRANSITION][example.target_mask].tolist()

    def test_every_reply_ends_with_its_end_token(self, renderer):
        (example,) = encoded(iqlearn, FOUR[1:2], renderer)
        ends = example.targets[example.target_mask] == renderer.tokenizer.eos_token_id
        assert ends.sum() == 2
        assert self.of_targets(example) == [TURN_END if end else NEXT_TOKEN for end in ends]

    def test_a_reply_right_after_another_one_does_not_continue_it(self, tokenizer):
        """Without a token between them, the position alone does not tell where a reply ends."""
        template = "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"
        talk = Conversation((Message("user", "Hello"), Message("assistant", "Hello"), Message("assistant", "Order")))
        (example,) = encoded(iqlearn, [talk], Renderer(tokenizer, template))
        targets = example.targets[example.target_mask]
        positions = example.target_mask.nonzero()[0]
        assert positions[-1] - positions[0] == len(positions) - 1
        ends = targets == tokenizer.eos_token_id
        assert ends.sum() == 2
        assert self.of_targets(example) == [TURN_END if end else NEXT_TOKEN for end in ends]

    def test_a_reply_that_does_not_fit_is_cut(self, renderer):
        talk = Conversation((Message("user", "Hello"), Message("assistant", "Thank you " * 40)))
        (example,) = encoded(iqlearn, [talk], renderer, length=32)
        *rest, last = self.of_targets(example)
        assert last == CUT
        assert set(rest) == {NEXT_TOKEN}


class TestRuns:
    def test_with_turns_last_only_the_last_reply_is_a_target(self, renderer):
        (example,) = encoded(with_options(turns="last"), FOUR[1:2], renderer)
        assert example.units == 1
        assert renderer.tokenizer.decode(example.targets[example.target_mask].tolist()) == "Sehr gern!"

    def test_plain_text_is_rejected(self, renderer):
        with pytest.raises(InvalidData, match="'iqlearn' needs dialogues"):
            encoded(iqlearn, [Document("Hello")], renderer)

    def test_it_trains_decoders_only(self, values, base_folder):
        values |= {"objective": "iqlearn", "model": {"new": {"family": "t5", **SIZES}, "tokenizer": str(base_folder)}}
        with pytest.raises(InvalidParameter, match="which the objective 'iqlearn' "):
            run_recipe(parse_values(values))

    def test_retention_is_measured_by_the_cross_entropy(self, trainer, recipe, values, valid_chats):
        data = {**values["data"], "retention": str(valid_chats)}
        run = trainer(recipe(objective="iqlearn", data=data))
        assert OBJECTIVES.plugin_name(run.data.valid.objective) == "iqlearn"
        assert OBJECTIVES.plugin_name(run.data.retention.objective) == "sft"

    @pytest.mark.costly
    def test_a_run_reports_the_term_and_no_perplexity(self, recipe, tmp_path, no_loss_plot):
        """exp(loss) is no perplexity, because the loss has the term."""
        result = run_recipe(recipe(objective={"name": "iqlearn", "regularization": 1.0}), device=CPU)
        assert set(result.extra_metrics) == {"td", "reward"}
        assert 0 < result.extra_metrics["td"] < result.valid_after
        assert "perplexity" not in json.loads((tmp_path / "out" / "result.json").read_text())
        assert "perplexity" not in (tmp_path / "out" / "README.md").read_text()


def parse_values(values):
    from turnwise.training.recipe import parse_recipe

    return parse_recipe(values, origin="test")
