"""Objectives: one suite over whatever the folder holds, then the formula of each."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hooks import KillingHook
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from samples_of_data import FOUR, ITEMS, PAIRS, RATED, TEXTS, dialogue, written
from torch.nn import functional as F

from turnwise.core.errors import InvalidData, InvalidParameter, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.models import transformers_checkpoint
from turnwise.models.transformers_model import TransformersModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.batches import IGNORED, Example, collate
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.log_probs import cross_entropy_sum, segment_log_probs
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.objectives.span import sample_spans
from turnwise.training.recipe import parse_recipe

CPU = torch.device("cpu")
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 4, "context_length": 128}
FAMILY = {"encoder_decoder": "t5", "encoder": "bert", "decoder": "llama"}

clm, dpo, kto, mlm, seq2seq, sft, span = map(
    OBJECTIVES.parse_plugin, ("clm", "dpo", "kto", "mlm", "seq2seq", "sft", "span")
)


@pytest.fixture(scope="module")
def renderer(tokenizer):
    return Renderer.from_tokenizer(tokenizer.with_special_tokens([*mlm.special_tokens(), *span.special_tokens()[:8]]))


@pytest.fixture
def model_for(renderer, tiny_config, one_thread):
    """`model_for(objective)`: a fresh model of the kind that it trains; the same weights every time."""
    from turnwise.models.checkpoint import create

    def make(how):
        (kind,) = how.MODEL_KINDS
        tokenizer = renderer.tokenizer
        if kind == "decoder":
            return create(replace(tiny_config, vocab_size=tokenizer.vocab_size), seed=0)
        sizes = transformers_checkpoint.ModelSizes(tokenizer.vocab_size, *SIZES.values())
        return transformers_checkpoint.create(
            FAMILY[kind], sizes, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, seed=0
        )

    return make


def dataset(how, items, renderer, model, length=128):
    frame = ExampleContext(renderer, length, model.decoder_start_ids)
    shard = in_memory_shard(example for item in items for example in how.examples(item, frame))
    shard.labels = how.balance_labels(shard.labels)
    found = Dataset([shard], how, frame, model.supports_packing)
    found.compute_ref_logprobs(model, CPU, torch.float32, 2)
    return found


def encoded(how, items, renderer, length=128):
    return [example for item in items for example in how.examples(item, ExampleContext(renderer, length))]


def batches(data, size):
    rows = (
        data.rows() if not data.supports_packing else [replace(data.rows()[0], examples=[i]) for i in range(len(data))]
    )
    return [data.batch(rows[start : start + size]) for start in range(0, len(rows), size)]


def step_loss(how, model, found):
    """The loss of a step over these batches."""
    before = how.reduce_statistic(*how.batch_statistic(model, found))
    share = sum(how.loss_denominator(batch) for batch in found)
    return sum(how.loss(model, batch, before).loss_sum for batch in found) / share


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.module.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", OBJECTIVES.names())
class TestEveryObjective:
    def test_the_loss_falls_on_four_samples(self, name, renderer, model_for):
        how = OBJECTIVES.parse_plugin(name)
        model = model_for(how)
        found = batches(dataset(how, ITEMS.get(name, FOUR), renderer, model), 4)
        optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-2)
        losses = []
        for _ in range(16):
            losses.append(step_loss(how, model, found))
            losses[-1].backward()
            optimizer.step()
            optimizer.zero_grad()
        assert losses[-1] < 0.6 * losses[0]

    def test_a_few_rows_at_a_time_give_the_gradient_of_all_at_once(self, name, renderer, model_for):
        """Replies and tokens differ from row to row, so a mean of means would be wrong."""
        how = OBJECTIVES.parse_plugin(name)
        model = model_for(how)
        data = dataset(how, ITEMS.get(name, FOUR), renderer, model)
        with torch.no_grad():  # away from the base, where some terms vanish
            for parameter in model.module.parameters():
                parameter.mul_(1.05)
        step_loss(how, model, batches(data, len(data))).backward()
        at_once = gradient(model)
        model.module.zero_grad()
        step_loss(how, model, batches(data, 1)).backward()
        assert at_once.norm() > 0
        assert (gradient(model) - at_once).abs().max() <= 1e-5 * max(1.0, at_once.abs().max())

    def test_a_run_that_is_interrupted_ends_with_the_same_bits(
        self, name, renderer, base_folder, tmp_path, undrawn, one_thread
    ):
        (kind,) = OBJECTIVES.plugin_class(name).MODEL_KINDS
        data = written(ITEMS.get(name, FOUR) * 3, tmp_path / "data.jsonl")
        source = {"from": str(base_folder)}
        if kind != "decoder":
            source = {"new": {"family": FAMILY[kind], **SIZES}, "tokenizer": str(base_folder)}
        weights = []
        for stop in (None, 3):
            out = tmp_path / f"out-{stop}"
            recipe = parse_recipe(
                {
                    "objective": name, "model": source, "data": {"train": str(data), "valid": str(data)},
                    "training": {
                        "max_seq_len": 96, "batch_size": 3, "max_steps": 6, "save_steps": 2, "dtype": "float32"
                    },
                    "out": str(out),
                },
                origin="test",
            )  # fmt: skip
            if stop:
                with pytest.raises(RuntimeError, match="killed"):
                    run_recipe(recipe, hooks=[KillingHook(stop)], device=CPU)
            result = run_recipe(recipe, device=CPU)
            assert result.steps == 6
            weights.append(load_file(out / "model.safetensors"))
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_nothing_comes_of_a_dialogue_without_text_to_learn(self, name, renderer):
        how = OBJECTIVES.parse_plugin(name)
        empty = Conversation((), rejected=(Message("user", "?"),), rating=True)
        assert encoded(how, [empty], renderer) == []

    def test_it_says_what_its_data_lacks(self, name):
        assert OBJECTIVES.plugin_class(name).EMPTY_MESSAGE


class TestNaming:
    def test_an_unknown_objective_is_named_with_the_nearest(self):
        with pytest.raises(InvalidParameter, match=r"no objective 'stf'.*did you mean 'sft'"):
            OBJECTIVES.parse_plugin("stf")

    def test_an_unknown_option_is_named_with_the_nearest(self):
        with pytest.raises(InvalidParameter, match=r"unknown key 'objective.bta': did you mean 'beta'"):
            OBJECTIVES.parse_plugin({"name": "dpo", "bta": 0.3})

    def test_options_are_checked(self):
        with pytest.raises(InvalidParameter, match=r"'objective.beta' should be greater than 0"):
            OBJECTIVES.parse_plugin({"name": "dpo", "beta": 0})

    def test_a_model_of_another_kind_is_refused_with_what_fits(self, values):
        values["objective"] = "seq2seq"
        with pytest.raises(InvalidParameter, match=r"is a decoder, which the objective 'seq2seq' .*clm, dpo, kto, sft"):
            run_recipe(parse_recipe(values, origin="test"))


def single(how, items, renderer, model):
    """All examples in one row, as one batch."""
    return collate([encoded(how, items, renderer)], pad_id=0)


class TestFineTuning:
    @torch.no_grad()
    def test_loss_is_the_formula(self, renderer, model_for):
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
    def test_an_optimiser_step_is_over_all_its_replies(self, trainer, recipe):
        """The step's own report is per token, so that runs can be compared; the gradient is per reply."""
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

    def test_only_what_the_assistant_says_is_learned(self, renderer):
        (example,) = encoded(sft, FOUR[1:2], renderer)
        assert self.learned(example, renderer) == "I'd like to order a new one.<|end|>Sehr gern!<|end|>"
        assert example.units == 2

    def test_the_last_turn_alone_where_asked(self, renderer):
        (example,) = encoded(OBJECTIVES.parse_plugin({"name": "sft", "turns": "last"}), FOUR[1:2], renderer)
        assert self.learned(example, renderer) == "Sehr gern!<|end|>"
        assert example.units == 1

    def test_a_message_of_weight_zero_is_read_and_not_learned(self, renderer):
        first, *rest = FOUR[1].messages
        talk = Conversation((first, replace(rest[0], weight=0.0), *rest[1:]))
        (example,) = encoded(sft, [talk], renderer)
        assert self.learned(example, renderer) == "Sehr gern!<|end|>"
        assert example.ids.tolist() == encoded(sft, FOUR[1:2], renderer)[0].ids.tolist()

    def test_without_anything_that_weighs_there_is_no_example(self, renderer):
        talk = Conversation((FOUR[0].messages[0], replace(FOUR[0].messages[1], weight=0.0)))
        assert not encoded(sft, [talk], renderer)

    @torch.no_grad()
    def test_a_message_that_weighs_three_counts_like_three_of_it(self, renderer, model_for):
        model = model_for(sft)
        heavy = Conversation((FOUR[0].messages[0], replace(FOUR[0].messages[1], weight=3.0)))
        losses = [
            step_loss(sft, model, [single(sft, items, renderer, model)])
            for items in ([heavy, FOUR[3]], [FOUR[0], FOUR[0], FOUR[0], FOUR[3]])
        ]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)

    def test_weights_follow_a_dialogue_that_is_shortened(self, renderer):
        talk = [Message(("user", "assistant")[i % 2], "Thank you " * 6, weight=1 + i) for i in range(6)]
        whole = encoded(sft, [Conversation(tuple(talk))], renderer, length=500)
        pieces = encoded(sft, [Conversation(tuple(talk))], renderer, length=whole[0].size - 1)
        assert len(pieces) > 1
        assert sum(piece.weights[piece.target_mask].sum() for piece in pieces) == pytest.approx(
            sum(e.weights[e.target_mask].sum() for e in whole)
        )

    def test_user_turns_are_no_targets(self, renderer, model_for):
        """The last user turn is never read by a reply, so what it says changes nothing."""
        model = model_for(sft)
        talks = [dialogue("Hello", "How can I help you?", last) for last in ("Thank you", "Order the lamp")]
        losses = [step_loss(sft, model, [single(sft, [talk], renderer, model)]) for talk in talks]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)

    def test_a_dialogue_without_an_assistant_turn_gives_nothing(self, renderer):
        assert not encoded(sft, [dialogue("Hello")], renderer)

    def test_a_reply_that_the_template_leaves_out_is_none(self, tokenizer):
        template = "{% for m in messages[1:] %}<|assistant|>{{ m['content'] }}<|end|>{% endfor %}"
        talk = Conversation((Message("assistant", "Welcome"), Message("assistant", "How can I help?")))
        (example,) = encoded(sft, [talk], Renderer(tokenizer, template))
        assert example.units == 1


class TestLanguageModelling:
    @torch.no_grad()
    def test_loss_is_the_mean_over_all_predicted_tokens(self, renderer, model_for):
        loaded = model_for(clm)
        model, summed, predicted = loaded.decoder, 0.0, 0
        for talk in FOUR:
            ids = renderer.render(talk.messages).ids
            for k in range(1, len(ids)):
                logits_V = model.logits(model(torch.tensor([ids[:k]])))[0, -1]
                summed -= F.log_softmax(logits_V, dim=0)[ids[k]].item()
                predicted += 1
        batch = single(clm, FOUR, renderer, loaded)
        assert step_loss(clm, loaded, [batch]).item() == pytest.approx(summed / predicted, rel=1e-5)

    def test_a_document_ends_with_the_end_token(self, renderer):
        (example,) = encoded(clm, [Document("Hello, how can I help?")], renderer)
        assert example.ids.tolist() == [
            *renderer.tokenizer.encode("Hello, how can I help?"),
            renderer.tokenizer.eos_token_id,
        ]
        assert example.target_mask[:-1].all()

    def test_a_long_text_loses_no_token_between_its_pieces(self, renderer):
        text = Document("The lamp in the kitchen is broken again. " * 10)
        pieces = encoded(clm, [text], renderer, length=16)
        assert sum(piece.target_mask.sum() for piece in pieces) == sum(len(piece.ids) for piece in pieces) - 1

    def test_markup_in_a_document_stays_text(self, renderer):
        (example,) = encoded(clm, [Document("so <|end|> it is")], renderer)
        assert (example.ids == renderer.tokenizer.eos_token_id).sum() == 1

    def test_what_is_predicted_counts(self):
        batch = collate([[Example.causal(range(5), [True] * 5)]], pad_id=0)
        assert clm.loss_denominator(batch) == 4


class TestMaskedLanguageModelling:
    def varied(self, renderer, epoch=0, **options):
        how = OBJECTIVES.parse_plugin({"name": "mlm", **options})
        frame = ExampleContext(renderer, 128)
        (example,) = how.examples(Document("The lamp in the kitchen is broken again. " * 8), frame)
        return example, how.augment(example, np.random.default_rng(epoch), frame)

    def test_targets_are_the_hidden_tokens_where_they_were(self, renderer):
        whole, example = self.varied(renderer)
        assert (example.targets[example.target_mask] == whole.ids[example.target_mask]).all()
        assert (example.ids[~example.target_mask] == whole.ids[~example.target_mask]).all()

    def test_so_many_are_hidden_in_three_ways(self, renderer):
        fates = {"mask": 0, "same": 0, "other": 0}
        for epoch in range(300):
            whole, example = self.varied(renderer, epoch)
            hidden = example.target_mask
            assert hidden.sum() == round(0.15 * (~np.isin(whole.ids, list(renderer.tokenizer.special_ids))).sum())
            masked = example.ids[hidden] == renderer.tokenizer.mask_token_id
            same = example.ids[hidden] == whole.ids[hidden]
            fates["mask"] += masked.sum()
            fates["same"] += same.sum()
            fates["other"] += (~masked & ~same).sum()
        total = sum(fates.values())
        assert fates["mask"] / total == pytest.approx(0.8, abs=0.02)
        assert fates["same"] / total == pytest.approx(0.1, abs=0.02)

    def test_every_epoch_hides_others_and_the_same_epoch_the_same(self, renderer):
        one, again, other = (self.varied(renderer, epoch)[1] for epoch in (1, 1, 2))
        assert (one.target_mask == again.target_mask).all()
        assert (one.target_mask != other.target_mask).any()

    def test_special_tokens_stay(self, renderer):
        how = OBJECTIVES.parse_plugin({"name": "mlm", "mask_ratio": 0.9})
        (example,) = how.examples(FOUR[1], ExampleContext(renderer, 128))
        varied = how.augment(example, np.random.default_rng(0), ExampleContext(renderer, 128))
        assert not np.isin(varied.targets[varied.target_mask], list(renderer.tokenizer.special_ids)).any()

    def test_a_tokenizer_without_a_mask_is_refused(self, tokenizer):
        with pytest.raises(UserError, match="mask token"):
            mlm.check(tokenizer)


class TestDialogueWithAnEncoder:
    def test_every_reply_is_learned_from_what_was_said_before_it(self, renderer):
        frame = ExampleContext(renderer, 128, (9,))
        first, second = seq2seq.examples(FOUR[1], frame)
        prompts = [renderer.render(FOUR[1].messages[:i], add_generation_prompt=True).ids for i in (1, 3)]
        assert [first.source.tolist(), second.source.tolist()] == prompts
        said = [*renderer.tokenizer.encode("Sehr gern!"), renderer.tokenizer.eos_token_id]
        assert second.targets.tolist() == said
        assert second.ids.tolist() == [9, *said[:-1]]

    def test_two_start_ids_stand_before_the_first_target(self, renderer):
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
        assert example.source.tolist() == next(ids for ids in fitting if len(ids) < 60)

    @torch.no_grad()
    def test_loss_is_the_model_s_own(self, renderer, model_for):
        """Batched with padding on both sides, as transformers computes it for one reply at a time."""
        model = model_for(seq2seq)
        data = dataset(seq2seq, FOUR, renderer, model)
        found = list(data.batches(3))
        loss = step_loss(seq2seq, model, found).item()
        summed = 0.0
        for index in range(len(data)):
            example = data.example(index)
            out = model.module(
                input_ids=torch.from_numpy(example.source[None].astype(np.int64)),
                labels=torch.from_numpy(example.targets[None].astype(np.int64)),
            )
            summed += out.loss.item() * len(example.targets)
        assert loss == pytest.approx(summed / len(data), rel=1e-4)


def test_what_answers_begin_with_is_the_same_when_served(recipe, tmp_path, tokenizer, undrawn):
    """Also where the base says it in its config alone, which transformers moves when it saves."""
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
    said = recipe(objective="seq2seq", model=model, data=data, max_steps=1, neftune_noise_alpha=5.0)
    start = transformers_checkpoint.load(tmp_path / "bart").decoder_start_ids
    run_recipe(said, device=CPU)
    assert transformers_checkpoint.load(Path(said.out)).decoder_start_ids == start


class TestSpanCorruption:
    @given(st.integers(4, 400), st.floats(0.05, 0.8), st.floats(1, 8), st.integers(0, 2**31))
    @settings(max_examples=200, deadline=None)
    def test_pieces_are_apart_and_add_up_to_the_share(self, length, share, mean, seed):
        found = sample_spans(length, share, mean, np.random.default_rng(seed))
        assert all(start < end for start, end in found)
        assert all(one[1] < other[0] for one, other in pairwise(found))
        assert found[0][0] >= 0
        assert found[-1][1] <= length
        assert sum(end - start for start, end in found) == min(max(round(length * share), 1), length - 1)

    def test_source_and_answer_together_are_the_text(self, renderer):
        frame = ExampleContext(renderer, 128, (0,))
        how = OBJECTIVES.parse_plugin({"name": "span", "corruption_ratio": 0.3})
        sentinels = [renderer.tokenizer.token_to_id(text) for text in how.special_tokens()[:8]]
        for item in TEXTS:
            for example in how.examples(item, frame):
                for seed in range(5):
                    varied = how.augment(example, np.random.default_rng(seed), frame)
                    pieces, said = {}, None
                    for id in varied.targets.tolist():
                        if id in sentinels:
                            said = pieces.setdefault(id, [])
                        else:
                            said.append(id)
                    restored = [id for token in varied.source.tolist() for id in pieces.get(token, [token])]
                    assert restored == example.ids.tolist()

    def test_a_tokenizer_without_sentinels_is_refused(self, tokenizer):
        with pytest.raises(UserError, match="<extra_id_0>"):
            span.check(tokenizer)


class TestPreferences:
    def log_prob(self, model, renderer, messages):
        """log P(last message | all before), from the plain model, token by token."""
        x = renderer.render(messages[:-1], add_generation_prompt=True).ids
        y = [*renderer.tokenizer.encode(messages[-1].content), renderer.tokenizer.eos_token_id]
        logits_TV = model.decoder.logits(model.decoder(torch.tensor([x + y])))[0]
        return sum(F.log_softmax(logits_TV[len(x) + k - 1], dim=0)[y[k]].item() for k in range(len(y)))

    @torch.no_grad()
    def test_the_log_probability_of_each_part_is_that_of_its_reply(self, renderer, model_for):
        model = model_for(dpo)
        data = dataset(dpo, PAIRS, renderer, model)
        batch = data.batch([replace(data.rows()[0], examples=list(range(4)))])
        found = segment_log_probs(model, batch).view(-1, 2).tolist()
        for pair, (chosen, rejected) in zip(PAIRS, found, strict=True):
            assert chosen == pytest.approx(self.log_prob(model, renderer, pair.messages), rel=1e-4)
            assert rejected == pytest.approx(self.log_prob(model, renderer, pair.rejected), rel=1e-4)

    @pytest.mark.parametrize("options", [{}, {"beta": 0.5, "label_smoothing": 0.2}, {"sft_weight": 0.7}])
    @torch.no_grad()
    def test_dpo_is_its_formula(self, renderer, model_for, options):
        how = OBJECTIVES.parse_plugin({"name": "dpo", **options})
        model = model_for(how)
        data = dataset(how, PAIRS, renderer, model)
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
        found = batches(data, 2)
        assert step_loss(how, model, found).item() == pytest.approx(expected / 4, rel=1e-4)
        assert sum(how.loss(model, batch).extra_metrics["accuracy"] for batch in found) == right

    @torch.no_grad()
    def test_ends_of_a_pair_do_not_see_each_other_in_other_models_either(self, renderer):
        """They lie in one row, which only our decoder masks; transformers gets a row for each."""
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
        ends = [Example(pair.ids[part], pair.targets[part]) for part in (slice(0, size), slice(size, None))]
        alone = [segment_log_probs(model, collate([[end]], pad_id=0)).item() for end in ends]
        assert together.tolist() == pytest.approx(alone, rel=1e-5)

    @torch.no_grad()
    def test_before_training_dpo_is_log_two(self, renderer, model_for):
        model = model_for(dpo)
        data = dataset(dpo, PAIRS, renderer, model)
        assert step_loss(dpo, model, batches(data, 4)).item() == pytest.approx(math.log(2), rel=1e-5)

    def test_a_pair_without_a_rejected_end_is_refused(self, renderer):
        with pytest.raises(InvalidData, match="rejected"):
            encoded(dpo, FOUR[:1], renderer)

    def test_a_long_history_loses_its_beginning_and_both_ends_stay(self, renderer):
        history = dialogue(*["The lamp is broken again"] * 21).messages
        pair = Conversation(
            (*history, Message("assistant", "Thank you")), rejected=(*history, Message("assistant", "No"))
        )
        (example,) = encoded(dpo, [pair], renderer, length=60)
        assert example.size <= 60
        learned = renderer.tokenizer.decode(example.targets[example.target_mask].tolist(), skip_special_tokens=False)
        assert learned == "Thank you<|end|>No<|end|>"

    @torch.no_grad()
    def test_kto_is_its_formula(self, renderer, model_for):
        """z₀ comes from each prompt with the answer before it, and weights make good and bad count the same."""
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

    @pytest.mark.parametrize("more", [{"repeat": 0.5}, {"weight": 2}], ids=str)
    def test_sources_that_are_shown_in_part_know_the_base_too(self, recipe, tmp_path, more, undrawn):
        files = [str(written(PAIRS, tmp_path / f"{name}.jsonl")) for name in "ab"]
        sources = [{"path": files[0], **more}, {"path": files[1], **({"weight": 1} if "weight" in more else {})}]
        said = recipe(objective="dpo", data={"train": sources, "valid": files[1]}, max_steps=2)
        assert run_recipe(said, device=CPU).steps == 2

    def test_good_and_bad_answers_of_different_files_are_balanced(self, recipe, renderer, tmp_path):
        from turnwise.training.examples.load_datasets import load_datasets
        from turnwise.training.launch.base_model_loader import load_base_model

        files = [
            str(written([talk for talk in RATED if talk.rating is good], tmp_path / f"{good}.jsonl"))
            for good in (True, False)
        ]
        said = recipe(objective="kto", data={"train": files, "valid_fraction": 0})
        base = load_base_model(said)
        train = load_datasets(said, base.renderer, base.model).train
        assert [shard.labels.tolist() for shard in train.shards] == [[1.0, 1.0, 1.0], [-3.0]]

    def test_given_weights_are_taken(self):
        how = OBJECTIVES.parse_plugin({"name": "kto", "desirable_weight": 2.0, "undesirable_weight": 5.0})
        assert how.balance_labels(np.array([1, -1, 1], np.float32)).tolist() == [2.0, -5.0, 2.0]

    def test_answers_of_one_kind_alone_weigh_one(self):
        assert kto.balance_labels(np.array([1, 1], np.float32)).tolist() == [1.0, 1.0]

    def test_an_answer_without_a_label_is_refused(self, renderer):
        with pytest.raises(InvalidData, match="no label"):
            encoded(kto, FOUR[:1], renderer)
